"""The names and call signatures of other evaluators of PQ, so that existing code needs one changed import."""

from panoptic_blend.compat.hugging_face import PanopticEvaluation as PanopticEvaluation
from panoptic_blend.compat.panopticapi import OFFSET as OFFSET
from panoptic_blend.compat.panopticapi import VOID as VOID
from panoptic_blend.compat.panopticapi import PQStat as PQStat
from panoptic_blend.compat.panopticapi import PQStatCat as PQStatCat
from panoptic_blend.compat.panopticapi import id2rgb as id2rgb
from panoptic_blend.compat.panopticapi import pq_compute as pq_compute
from panoptic_blend.compat.panopticapi import pq_compute_multi_core as pq_compute_multi_core
from panoptic_blend.compat.panopticapi import pq_compute_single_core as pq_compute_single_core
from panoptic_blend.compat.panopticapi import rgb2id as rgb2id
