"""Wrappers of a model: bound arguments, configuration, retries, fallbacks, configurable fields."""

from collections.abc import Callable
from typing import Any

from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableLambda,
    RunnableWithFallbacks,
)
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.configurable import DynamicRunnable

Model = Runnable[Any, Any]


def inside_wrappers(model: Model, make: Callable[[Model], Model]) -> Model:
    """Put what `make` makes of a chat model in its place, inside all that wraps it.

    A wrapper's own `with_structured_output` is the bare model's: it loses what is bound, its
    callbacks, and its retries.

    Args:
        model: A chat model, or one that is bound, configured, or has retries or fallbacks.
        make: Makes a Runnable of a bare model. It gets the bound arguments with each call.

    Returns:
        The Runnable, wrapped as the model was.
    """
    match model:
        case RunnableBindingBase():  # of bind, with_config and with_retry
            return model.model_copy(update={"bound": inside_wrappers(model.bound, make)})
        case RunnableWithFallbacks():
            alternatives = (model.runnable, *model.fallbacks)
            first, *others = [inside_wrappers(one, make) for one in alternatives]
            return model.model_copy(update={"runnable": first, "fallbacks": others})
        case DynamicRunnable():
            return _configured(model, make)
    return make(model)


def _configured(model: DynamicRunnable[Any, Any], make: Callable[[Model], Model]) -> Model:
    """Return a Runnable that is made anew for the fields of each call's configuration."""

    def call(given: Any, config: RunnableConfig, **kwargs: Any) -> Any:
        chosen, config = model.prepare(config)
        return inside_wrappers(chosen, make).invoke(given, config, **kwargs)

    async def acall(given: Any, config: RunnableConfig, **kwargs: Any) -> Any:
        chosen, config = model.prepare(config)
        return await inside_wrappers(chosen, make).ainvoke(given, config, **kwargs)

    return RunnableLambda(call, acall)
