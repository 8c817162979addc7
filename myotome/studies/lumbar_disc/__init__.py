"""Lumbar discs on MR by Mask R-CNN: the protocol of Feng et al. 2023, with and without its patient leak."""
