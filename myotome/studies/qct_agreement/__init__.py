"""Bone density without a phantom in the scanner, against quantitative CT: agreement, precision, and a gate's ordeal."""
