"""A cohort on disk: one folder per case, its measurements as Parquet, and SQL over all of them."""

from myotome.store.database import Store
from myotome.store.folder import CohortFolder
from myotome.store.reviews import DECISIONS
from myotome.store.tables import CaseRecord, make_measurement_table

__all__ = ["DECISIONS", "CaseRecord", "CohortFolder", "Store", "make_measurement_table"]
