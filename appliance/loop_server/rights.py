"""Who may do what in the embedded loop; what a rule means stands in `access`."""

from __future__ import annotations

from access import AccessTable, Right

PROJECT = "/api/{organization}/projects/{project}"

LOOP_TABLE = AccessTable(
    routes={
        "GET /docs": Right.OPEN,
        "GET /docs/oauth2-redirect": Right.OPEN,
        "GET /redoc": Right.OPEN,
        "GET /openapi.json": Right.OPEN,
        "GET /static-offline-docs/*": Right.OPEN,
        "GET /api/status": Right.OPEN,
        "POST /api/login": Right.OPEN,
        "POST /api/logout": Right.OPEN,
        "* /api/users/*": Right.ADMINISTRATE,
        "GET /api/projects": Right.CHANGE_OR_SEE,
        "POST /api/{organization}/projects": Right.CHANGE_OR_SEE,
        "POST /api/{organization}/projects/generator": Right.CHANGE_OR_SEE,
        f"POST {PROJECT}/images": Right.OPEN,  # within bounds, see `open_doors`
        f"GET {PROJECT}/models/{{id}}/{{format}}/file": Right.OPEN,
        f"GET {PROJECT}/models": Right.NODE,
        f"GET {PROJECT}/deployment/target": Right.NODE,
        f"POST {PROJECT}/detectors": Right.NODE,
        f"* {PROJECT}/*": Right.CHANGE_OR_SEE,
        "* /api/nodes/*": Right.CHANGE_OR_SEE,
        "* /ws/*": Right.OPEN,  # the transport alone: connecting and each event are checked by their names
    },
    events={
        "connect": Right.NODE,
        "update_detector": Right.OPEN,  # those that use it never log in
        "update_trainer": Right.CHANGE_OR_SEE,
        "update_training": Right.CHANGE_OR_SEE,
        "update_annotation_node": Right.CHANGE_OR_SEE,
        "update_segmentation_annotation": Right.CHANGE_OR_SEE,
    },
)
