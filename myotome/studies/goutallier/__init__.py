"""Supraspinatus fatty infiltration on shoulder MRI: the cross-validated study of the two-step grader."""
