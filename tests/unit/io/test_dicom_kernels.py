import pytest

from myotome.io.dicom_kernels import is_sharp_kernel


@pytest.mark.parametrize(
    "kernel", ["B70f", "B80s", "Bl57d/3", "I70f/2", "LUNG", "BONEPLUS", "EDGE", "FC52", "FC35", "YC", "L"]
)
def test_sharp_kernels(kernel):
    assert is_sharp_kernel(kernel)


@pytest.mark.parametrize(
    "kernel", ["B30f", "B40f", "Br40d/3", "I31f/3", "STANDARD", "SOFT", "FC08", "FC13", "B", "C", ""]
)
def test_soft_and_unknown_kernels(kernel):
    assert not is_sharp_kernel(kernel)
