"""Protocols by name: what they fix, and what contradicts them."""

import pytest

from data_tools.policies import EXPLORE_FRAMES, LOOK_BACK_GAPS, LOOK_FRAMES, POLICIES
from mstv.data.schema import Source
from mstv.errors import UserError
from mstv.evaluation.protocols import PROTOCOLS, protocols_help, settings_of
from mstv.evaluation.revisit_scoring import GAPS


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lookback", "look-back"),
        ("Look_Back", "look-back"),
        ("look-bak", "look-back"),
        ("teco36", "teco-36"),
        ("TECO-144", "teco-144"),
        ("teco", "teco-144 or teco-36"),
        ("milivid", "millivid"),
        ("explore", "explore-return"),
        ("exploreretrun", "explore-return"),
    ],
)
def test_a_misspelt_protocol_is_no_label(name, meant):
    with pytest.raises(UserError, match=rf"^--protocol {name}: did you mean {meant}\?"):
        settings_of(name, None, None)


@pytest.mark.parametrize(
    "name", ["mine", "context64-end128", "teco-72-long", "millivid-half", "long", "t", "_", "back"]
)
def test_other_names_are_labels(name):
    assert settings_of(name, 8, 16) == (name, 1, 8, 16, None)


def test_a_plan_of_more_context_than_the_protocol_gives_is_told():
    PROTOCOLS["teco-36"].check_plan(36)
    with pytest.raises(
        UserError, match=r"36 frames of context, and this run's plan needs 42, .* by it: choose"
    ) as told:
        PROTOCOLS["teco-36"].check_plan(42)
    assert "choose --protocol millivid or teco-144 or explore-return or look-back, or train" in str(told.value)
    with pytest.raises(UserError, match=r"needs 300, .*: give --context instead of a protocol, or train"):
        PROTOCOLS["millivid"].check_plan(300)


def test_the_published_spans():
    spans = {name: (protocol.context_frames, protocol.end_frame) for name, protocol in PROTOCOLS.items()}
    assert (spans["millivid"], spans["teco-144"], spans["teco-36"]) == ((256, 1024), (144, 300), (36, 300))


def test_policies_turn_where_their_protocols_do():
    assert {protocol.policy for protocol in PROTOCOLS.values()} - {None} <= set(POLICIES)
    assert PROTOCOLS["explore-return"].context_frames == EXPLORE_FRAMES
    look_back = PROTOCOLS["look-back"]
    assert look_back.context_frames == LOOK_FRAMES
    assert LOOK_BACK_GAPS == GAPS and look_back.end_frame > LOOK_FRAMES + max(GAPS)


def test_a_name_fixes_context_and_end():
    for context, end in ((None, None), (144, None), (144, 300)):
        assert settings_of("teco-144", context, end)[:4] == ("teco-144", 1, 144, 300)
    with pytest.raises(UserError, match=r"^--context 256: --protocol teco-144 is defined by --context 144: leave"):
        settings_of("teco-144", 256, 300)
    with pytest.raises(UserError, match=r"^--end 1024: --protocol teco-144 is defined by --end 300"):
        settings_of("teco-144", None, 1024)


def test_other_names_are_labels_of_own_settings():
    assert settings_of("mine", 8, 16) == ("mine", 1, 8, 16, None)
    assert settings_of(None, None, None)[:4] == ("context256-end1024", 1, 256, 1024)
    assert settings_of(None, 8, None)[:4] == ("context8-end1024", 1, 8, 1024)
    with pytest.raises(UserError, match=r"--end 8 must lie beyond --context 8"):
        settings_of("mine", 8, 8)


def test_episodes_that_do_not_fit_are_told():
    def source(policy):
        return Source(engine="blockworld", world="w", policy=policy)

    look_back = PROTOCOLS["look-back"]
    look_back.check_episode("walk-1", 800, source("look-back"))
    with pytest.raises(UserError, match=r"at least 800 frames, walk-1 has 799: record .*--frames 800"):
        look_back.check_episode("walk-1", 799, source("look-back"))
    with pytest.raises(UserError, match=r"needs walks of the policy look-back, walk-1 was recorded with loopwalk"):
        look_back.check_episode("walk-1", 1024, source("loopwalk"))
    with pytest.raises(UserError, match=r"recorded with none that is known"):
        look_back.check_episode("walk-1", 1024, source(None))
    PROTOCOLS["millivid"].check_episode("walk-1", 1024, source(None))


def test_imported_walks_are_taken_where_their_way_back_is_known():
    def imported(first_frame=0, **settings):
        return Source(engine="loopnav", world="loopnav-plains", first_frame=first_frame, settings=settings)

    explore = PROTOCOLS["explore-return"]
    for source in (imported(return_frame=256), imported(return_frame=180), imported(1024, return_frame=1200)):
        explore.check_episode("walk-1", 384, source)
    own = "give settings of your own, --context, --end and --protocol NAME"
    for source, what in (
        (imported(), f"no way back is known: {own}, or import LoopNav walks again"),
        (imported(return_frame=257), f"the way back begins at frame 257: {own}$"),
        (imported(1024, return_frame=700), "the way back begins at frame -324:"),  # all of it is
    ):
        with pytest.raises(UserError, match=f"up to 256 on; of walk-1 {what}"):
            explore.check_episode("walk-1", 384, source)
    with pytest.raises(UserError, match=r"at least 384 frames, walk-1 has 383"):
        explore.check_episode("walk-1", 383, imported(return_frame=180))
    with pytest.raises(UserError, match=r"policy look-back, walk-1 was recorded with none that is known: record"):
        PROTOCOLS["look-back"].check_episode("walk-1", 800, imported(return_frame=180))


def test_the_help_names_every_protocol_and_what_it_needs():
    text = protocols_help()
    for protocol in PROTOCOLS.values():
        assert f"  {protocol.name} " in text and protocol.about in text
        assert f"--context {protocol.context_frames} --end {protocol.end_frame}; needs" in text
