"""From pictures and videos to files of results, with anything that predicts: a model of torch or an exported one."""
