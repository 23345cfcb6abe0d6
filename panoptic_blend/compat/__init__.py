"""The names and call signatures of other evaluators of PQ, and the maps of other tools as maps of this library."""

from panoptic_blend.compat.fiftyone_samples import from_fiftyone as from_fiftyone
from panoptic_blend.compat.hugging_face import PanopticEvaluation as PanopticEvaluation
from panoptic_blend.compat.maps import from_cityscapes_ids as from_cityscapes_ids
from panoptic_blend.compat.maps import from_labels as from_labels
from panoptic_blend.compat.maps import from_segments as from_segments
from panoptic_blend.compat.maps import from_supervision as from_supervision
from panoptic_blend.compat.panopticapi import OFFSET as OFFSET
from panoptic_blend.compat.panopticapi import VOID as VOID
from panoptic_blend.compat.panopticapi import PQStat as PQStat
from panoptic_blend.compat.panopticapi import PQStatCat as PQStatCat
from panoptic_blend.compat.panopticapi import id2rgb as id2rgb
from panoptic_blend.compat.panopticapi import pq_compute as pq_compute
from panoptic_blend.compat.panopticapi import pq_compute_multi_core as pq_compute_multi_core
from panoptic_blend.compat.panopticapi import pq_compute_single_core as pq_compute_single_core
from panoptic_blend.compat.panopticapi import rgb2id as rgb2id
