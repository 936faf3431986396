"""Cfg keys that only training reads, in pjreddie's and AlexeyAB's Darknet: known by name, without effect here."""

from __future__ import annotations

_NET = """
    adam adversarial_lr angle aspect attention b1 b2 batch blur burn_in center clip cutmix decay dynamic_minibatch
    ema_alpha eps equidistant_point exposure flip gamma gaussian_noise hue inputs label_smooth_eps learning_rate letter_box
    loss_scale max_batches max_chart_loss max_crop max_ratio min_crop min_ratio mixup momentum mosaic mosaic_bound notruth
    num_sigmas_reject_badlabels optimized_memory policy power random resize_step saturation scale scales seq_scales
    sgdr_cycle sgdr_mult step steps subdivisions time_steps try_fix_nan workspace_size_limit_MB
"""
_HEAD = """
    absolute beta_nms bias_match class_scale classfix cls_normalizer coord_scale counters_per_class delta_normalizer
    focal_loss ignore_thresh iou_loss iou_normalizer iou_thresh iou_thresh_kind jitter label_smooth_eps log mask_scale max
    max_delta nms_kind noobject_scale obj_normalizer object_scale objectness_smooth random rescore resize show_details sqrt
    thresh truth_thresh uc_normalizer
"""

NET_TRAINING = frozenset(_NET.split())
HEAD_TRAINING = frozenset(_HEAD.split())
DROPOUT_TRAINING = frozenset({"dropblock", "dropblock_size_abs", "dropblock_size_rel"})
LAYER_TRAINING = frozenset({"onlyforward", "stopbackward"})
