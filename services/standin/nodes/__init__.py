"""The node classes of the stand-in, one module a family."""

from services.standin.model.node import NodeDefinition
from services.standin.nodes import (
    audio,
    conditioning,
    image,
    latent,
    loader,
    loading,
    mask,
    modelled,
    retouch,
    sampling,
    saving,
    text,
    trial,
    video,
)
from services.standin.nodes.tooltips import with_tooltips


def all_nodes() -> list[NodeDefinition]:
    """Every node class, in the order in which `/object_info` lists them."""
    families = (
        sampling,
        loader,
        conditioning,
        latent,
        loading,
        saving,
        image,
        retouch,
        mask,
        text,
        audio,
        video,
        trial,
        modelled,
    )
    return [with_tooltips(definition) for family in families for definition in family.nodes()]
