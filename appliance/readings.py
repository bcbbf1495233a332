"""What `/metrics` reads from the services when somebody looks."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.metrics import Reading
from appliance.services import Services

_NONE: dict[str, str] = {}


def readings(services: Services) -> Iterable[Reading]:
    """See `appliance.metrics.Reading`."""
    supervisor, counters = services.supervisor, services.supervisor.counters
    serving, worker = supervisor.serving, supervisor.worker
    yield "detector_ready", "1 if a model serves", float(worker is not None), _NONE
    yield "detector_degraded", "1 if something is not as it should be", float(services.trouble() is not None), _NONE
    if serving is not None:
        model = serving.bundle.identity
        labels = {
            "organization": model.organization,
            "project": model.project,
            "version": model.version,
            "runtime": str(serving.choice),
        }
        yield "detector_model_info", "The serving model and how it is run", 1.0, labels
        for way in serving.ways.measured:
            if way.milliseconds is not None:
                help_text = "Inference as measured for each way to run the model"
                yield "detector_way_seconds", help_text, way.milliseconds / 1e3, {"runtime": str(way.choice)}
    yield "detector_queue_length", "Pictures that wait for the worker", float(supervisor.queue_length), _NONE
    yield "detector_worker_restarts_total", "Workers that died and were replaced", counters.restarts, _NONE
    yield "detector_worker_hangs_total", "Workers that were killed because they hung", counters.hangs, _NONE
    yield "detector_worker_retries_total", "Pictures that were tried once more", counters.retries, _NONE
    yield "detector_model_swaps_total", "Models that took over from another", counters.swaps, _NONE
    refused = "Pictures refused before they were looked at"
    yield "detector_refused_total", refused, counters.refused_full, {"reason": "queue_full"}
    yield "detector_refused_total", refused, counters.refused_old, {"reason": "waited_too_long"}
    for name, count in services.detecting.counters.by_category.items():
        yield "detector_objects_total", "Objects found, by category", count, {"category": name}
    yield from _of_versions(services)
    waiting = services.outbox.stats()
    yield "detector_outbox_items", "Pictures that wait for the Loop", waiting.total.items, _NONE
    yield "detector_outbox_bytes", "Their size", waiting.total.bytes, _NONE
    yield "detector_outbox_rejected_items", "Pictures that the Loop did not want", waiting.rejected.items, _NONE
    tallies = services.outbox.tallies()
    yield "detector_outbox_refused_total", "Uploads that found no room", tallies["refused"], _NONE
    yield "detector_outbox_sent_total", "Pictures that the Loop took", tallies["sent"], _NONE
    yield "detector_outbox_sent_bytes_total", "Their size", tallies["sent_bytes"], _NONE
    for gone in ("rejected", "thinned", "vanished", "deleted"):
        why = "Pictures that were not sent: not wanted by the Loop, thinned for want of room, deleted by hand or by request"
        yield "detector_outbox_not_sent_total", why, tallies[gone], {"reason": gone}
    if services.uploader is not None:
        sending = services.uploader.status()
        yield "detector_outbox_sending", "1 if pictures are being sent", float(sending.state == "sending"), _NONE
        yield "detector_outbox_bytes_per_second", "How fast", sending.bytes_per_second, _NONE
    picks = services.pick_totals()
    yield "detector_picks_wanted_total", "Pictures picked for the Loop", picks.wanted, _NONE
    yield "detector_picks_kept_total", "Of these, kept in the outbox", picks.kept, _NONE
    yield "detector_picks_waiting", "Of these, on their way to the outbox", picks.waiting, _NONE
    for reason, count in picks.dropped.items():
        yield "detector_picks_dropped_total", "Of these, not kept, by reason", count, {"reason": reason}
    for reason_, count in services.access.refusals.totals.items():
        yield "detector_access_refused_total", "Requests turned away, by reason", count, {"reason": reason_.value}


def _of_versions(services: Services) -> Iterable[Reading]:
    update, loop = services.versions.update, services.connection.condition
    version = {"state": update.state, "version": update.version or ""}
    yield "detector_update_info", "Where the change to the wanted model stands", 1.0, version
    if update.progress is not None:
        yield "detector_update_progress", "Share of the wanted model that is downloaded", update.progress, _NONE
    left = services.versions.lock.seconds_left
    yield "detector_update_lock_seconds", "For how long no model is swapped yet", left, _NONE
    failed = len(services.versions.state.failures)
    yield "detector_models_failed", "Models that failed and are not tried again as they are", float(failed), _NONE
    if loop.state != "standalone":
        yield (
            "detector_loop_connected",
            "1 if the Loop answered when asked last",
            float(loop.state == "connected"),
            _NONE,
        )
        away = loop.seconds if loop.state == "away" else 0.0
        yield "detector_loop_away_seconds", "For how long it has not", away, _NONE
