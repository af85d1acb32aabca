"""Which api-version each operation knows: those that the clients in use send, and the one of the published example.

azure-ai-ml sends another version from operation to operation; a version that is not in its row is refused as the service
does (the service itself knows more of them).
"""

WORKSPACES = "2024-10-01-preview 2023-08-01-preview 2025-12-01"
DATASTORES = "2024-10-01-preview 2025-12-01 2025-09-01"
DATA = "2023-04-01-preview 2025-09-01"
ENVIRONMENTS = "2023-04-01-preview 2025-09-01"
MODELS = "2023-08-01-preview 2025-09-01"
CODES = "2023-04-01 2025-12-01 2025-09-01"
COMPUTES = "2023-08-01-preview 2025-12-01"
JOBS_PUT = "2025-01-01-preview 2025-12-01"
JOBS_READ = "2024-01-01-preview 2025-12-01 2025-09-01"
JOBS_CANCEL = "2023-04-01-preview 2025-12-01"
ENDPOINTS = "2022-02-01-preview 2024-10-01 2023-04-01-preview 2025-12-01 2025-09-01 2025-06-01"
DEPLOYMENTS = "2023-04-01-preview 2022-02-01-preview 2025-12-01 2025-09-01"
STATUS = " ".join(sorted({*ENDPOINTS.split(), *DEPLOYMENTS.split(), *JOBS_CANCEL.split(), *COMPUTES.split()}))
COSTS = "2025-03-01"
ROLES = "2022-04-01"
METADATA = "2019-05-01 2022-09-01"
