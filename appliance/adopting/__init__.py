"""What learning-loop-node has left in a data folder: its pictures are sent, its uuid is kept, its models are listed.

    DATA/outbox/<id>/image_<id>.json, .jpg                     0.13.1 to 0.13.7; in 0.13.0 image.json, image.jpg
    DATA/outbox/normal|priority/<id>/image_<id>.json, .jpg     0.14 and later
    DATA/tmp/<id>/…                                            pictures that were being written
    DATA/models/<version>/                                     model.json and weights, as the Loop's zip had them
    DATA/model, DATA/current_model                             link to the model that served: up to 0.18, and since
    DATA/uuids.json                                            node name -> uuid

An `<id>` is a local time with colons. Since 0.14 its queues are ours, file for file: whichever program runs sends what
waits there, and an item is gone once it was sent, for both of them. Before, a picture lay in the outbox itself; it is
moved to our queue under the same id, which is its name in the Loop whoever sends it. Models that this box can run are
copied to where it keeps its own. Everything else stays as and where it is.
"""
