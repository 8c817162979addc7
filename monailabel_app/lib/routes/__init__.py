"""The REST interface: MONAI Label's own routes as its clients call them, less what nobody needs, and a few of ours."""

from lib.routes import annotating, drafting, training, viewing

__all__ = ["annotating", "drafting", "training", "viewing"]
