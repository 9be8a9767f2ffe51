"""A statement that failed is run once more, where a stand-in was the reason. In the sandbox."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from data import OWN, STANDS, TINY, Loader, asked
from noted import without_parameters
from patches import GPU
from slices import Sliced

if TYPE_CHECKING:
    from watch import Watch

_OTHER_FORMS = {"plain": "channel", "channel": "colours"}
_WHOLE = 1_024  # images of the largest batch that is handed out whole
_OF_SIZES = (IndexError, ValueError, RuntimeError, ZeroDivisionError)  # where sizes do not fit
_OF_COUNTS = (*_OF_SIZES, KeyError, UnboundLocalError)  # where there are too few batches


class Attempt:
    """One run of a statement: what it moves of optimisers and schedulers can be moved back."""

    def __init__(self, watch: Watch) -> None:
        """Note how things are ahead of it."""
        self._watch, self._begun = watch, len(watch.passes)
        self._made, self._form = (len(watch.modules), len(watch.loaders)), asked.form
        self._rates = [
            (made.thing, [without_parameters(group) for group in made.thing.param_groups])
            for made in watch.optimizers
        ]
        self._moves = [(m, dict(vars(m.thing)), len(m.moves)) for m in watch.schedulers]
        GPU.asked = False

    @property
    def learned(self) -> bool:
        """Whether something learned in it; on real images, which nobody watches, may have."""
        passes = self._watch.passes[self._begun :]
        return bool(passes) if self._watch.real else any(each.trains for each in passes)

    def once_more(self, error: BaseException, *, supplied: bool) -> bool:
        """Tell, by its error, whether to run it once more; it is undone then.

        So it is where what it lacked is `supplied`; with whole batches, where it failed within one
        that is smaller than its loader says; with images in another form, where a network failed on
        some that stand for others; with as many batches as there are; and without a GPU, where it
        asked for one and lacks a name.
        """
        made_up = not self._watch.real
        if supplied:
            pass
        elif made_up and self._is_of_size(error):
            Loader.most = _WHOLE
        elif made_up and self._is_of_form(error):
            asked.form = _OTHER_FORMS[asked.form]
        elif made_up and self._is_of_counts(error) and not self._watch.whole:
            self._watch.whole = True
        elif isinstance(error, NameError) and GPU.asked and not GPU.without:
            GPU.without = str(error)
        else:
            return False
        self._undo()
        return True

    def failed(self) -> None:
        """Let images have the form again that they had ahead of it."""
        asked.form = self._form

    def passing(self) -> bool:
        """Tell whether to run it past lines that fail: where what is trained may depend on them."""
        worth = not self._watch.real and (self.learned or self._watch.learned_nothing)
        if worth:
            self._undo()
        return worth

    def _is_of_size(self, error: BaseException) -> bool:
        held = [p.loader for p in self._watch.passes[self._begun :]]
        loaders = [loader for loader in held if not isinstance(loader, Sliced)]
        size = (loaders[-1].batch_size if loaders else None) or 0
        inside = self._watch.now is not None and isinstance(error, _OF_SIZES)
        return inside and Loader.most == TINY and TINY < size <= _WHOLE

    def _is_of_form(self, error: BaseException) -> bool:
        """Tell whether images that stand for others may have another form than a network takes."""
        stands = bool(STANDS or OWN) and asked.form in _OTHER_FORMS
        return stands and not self.learned and _in_a_network(error)

    def _is_of_counts(self, error: BaseException) -> bool:
        """Tell an error in a training that there may be for want of batches: no network's own."""
        if not isinstance(error, _OF_COUNTS) or _in_a_network(error):
            return False
        passes = [each for each in self._watch.passes[self._begun :] if each.trains]
        loops = [loop for each in passes[-1:] for loop in (*each.around, each.at)]
        return any(self._watch.is_within(error, loop) for loop in loops)

    def _undo(self) -> None:
        self._watch.now = None
        del self._watch.passes[self._begun :]
        modules, loaders = self._made
        self._watch.undone |= {id(made) for made, _ in self._watch.modules[modules:]}
        self._watch.undone |= {id(made) for made, _ in self._watch.loaders[loaders:]}
        for optimizer, groups in self._rates:
            for group, before in zip(optimizer.param_groups, groups, strict=False):
                group.update(before)
        for made, state, count in self._moves:
            vars(made.thing).update(state)
            del made.moves[count:]


def _in_a_network(error: BaseException) -> bool:
    """Tell an error that the call of a network raised."""
    trace = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_name == "_call_impl" for frame, _ in trace)
