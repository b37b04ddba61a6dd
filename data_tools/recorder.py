"""`mstv-data record`: an engine and a policy make raw episodes, the same ones for any number of workers."""

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path

from data_tools import options
from data_tools.campaign import Campaign, Session, earlier_sessions, new_session, now
from data_tools.engine import ENGINES, GYM, EngineSettings, find_engine
from data_tools.engine_process import ActionRange, EngineFailure, EngineProcess
from data_tools.episode import check_same, complete_episodes, remove_episode
from data_tools.episode_recorder import record_episode, running_engine
from data_tools.output_folder import output_folder
from data_tools.parallel import Bar, run_tasks
from data_tools.policies import POLICIES, make_policy
from data_tools.recording import Recording
from mstv.data.schema import CAMPAIGN, Episode
from mstv.errors import UserError


def record(
    folder: Path, recording: Recording, num_episodes: int, workers: int, command: str = "", cluster: str | None = None
) -> tuple[int, int]:
    """Record episodes 0 .. `num_episodes` - 1, except those that are complete already.

    Args:
        folder: of the raw episodes; a campaign manifest is kept there.
        recording: what to record.
        num_episodes: episodes there shall be in the end.
        workers: episodes at a time.
        command, cluster: for the campaign manifest.

    Returns:
        (episodes recorded now, episodes that were there already).

    Raises:
        UserError: the policy does not fit the engine, an existing episode was made with other settings (both found
            before anything is recorded), the engine failed too often, or the folder cannot be written.
    """
    engine = _opened(recording)
    try:
        make_policy(recording.policy, engine.actions, recording.hold)
        recording = dataclasses.replace(recording, fps=recording.fps or engine.fps)
        with output_folder(folder):
            missing = _missing(folder, recording, num_episodes, engine.actions)
            if missing:
                session = new_session(command, workers, cluster, engine.versions)
                campaign = _campaign(folder, recording, num_episodes, engine, session)
                _record_missing(folder, recording, missing, workers, campaign)
    finally:
        running_engine.end()
    return len(missing), num_episodes - len(missing)


def _opened(recording: Recording) -> EngineProcess:
    """The engine of this process, which tells what it takes before anything is recorded."""
    for left in reversed(range(recording.retries + 1)):
        try:
            return running_engine.get(recording.engine)
        except EngineFailure as failure:
            if not left:
                raise UserError(f"{failure}: run `mstv-data doctor`") from None
    raise AssertionError("unreachable")


def _missing(folder: Path, recording: Recording, num_episodes: int, actions: ActionRange) -> list[int]:
    """Episodes that are still to be recorded, once those that are there are known to fit."""
    existing = complete_episodes(folder)
    missing = []
    for episode in existing.values():
        check_same(folder, episode, {"source.engine": recording.engine.engine.name})
    for index in range(num_episodes):
        if recording.key(index) in existing:
            _check_existing(folder, existing[recording.key(index)], recording, index, actions)
        else:
            missing.append(index)
    return missing


def _record_missing(folder: Path, recording: Recording, missing: list[int], workers: int, campaign: Campaign) -> None:
    """Record episodes, and tell of it in the campaign manifest as it goes on."""
    campaign.write(folder / CAMPAIGN)
    recorded = 0
    failures: tuple[str, ...] = ()
    outcome, problem = "failed", None
    try:
        with Bar("record", campaign.num_episodes, "episodes") as bar:
            bar.skip(campaign.num_episodes - len(missing))
            # World by world, since some engines take a minute to change it.
            tasks = [(folder, recording, index) for index in sorted(missing, key=lambda i: (recording.world(i), i))]
            for _, result in run_tasks(record_episode, tasks, workers):
                recorded += 1
                failures += result.engine_failures
                for text in result.engine_failures:
                    bar.tell(f"engine restarted: {text}")
                bar.advance(result.episode.num_frames)
                campaign = campaign.of_last(recorded=recorded, engine_failures=failures)
                campaign.write(folder / CAMPAIGN)
        outcome = "finished"
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    except UserError as error:
        problem = str(error)
        raise
    finally:
        campaign.of_last(ended=now(), outcome=outcome, error=problem).write(folder / CAMPAIGN)
        if outcome != "finished":
            complete = complete_episodes(folder)
            for index in missing:
                if recording.key(index) not in complete:
                    remove_episode(folder, recording.key(index))


def _check_existing(folder: Path, episode: Episode, recording: Recording, index: int, actions: ActionRange) -> None:
    source = recording.source(index, actions.spec, {})
    wanted = {
        "source.policy": source.policy,
        "height": recording.engine.size[0],
        "width": recording.engine.size[1],
        "fps": recording.fps,
        "source.settings": source.settings,
        "source.seed": source.seed,
        "source.world": source.world,
        "actions": actions.spec,
    }
    if recording.min_frames is None or not recording.min_frames <= episode.num_frames <= recording.num_frames:
        wanted["num_frames"] = recording.num_frames
    check_same(folder, episode, wanted)


def _campaign(
    folder: Path, recording: Recording, num_episodes: int, engine: EngineProcess, session: Session
) -> Campaign:
    return Campaign(
        engine=recording.engine.engine.name,
        policy=recording.policy,
        seed=recording.seed,
        num_episodes=num_episodes,
        num_frames=recording.num_frames,
        size=recording.engine.size,
        fps=recording.fps or engine.fps,
        num_worlds=recording.num_worlds,
        actions=engine.actions.spec,
        sessions=(*earlier_sessions(folder), session),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `mstv-data record`."""
    parser.add_argument(
        "--engine",
        default="blockworld",
        metavar="NAME",
        help=f"{', '.join(ENGINES)}, or {GYM}ID with any Gymnasium id (default: blockworld)",
    )
    parser.add_argument(
        "--policy",
        choices=sorted(POLICIES),
        help="loopwalk: bundles of steps and turns that keep coming back, discrete; free-walk: the same without steps "
        "that it has seen to lead nowhere, for small closed worlds; random: an explorer, discrete or vector; uniform: "
        "anything the engine takes, drawn evenly; explore-return: explores for 256 frames, then walks back; look-back: "
        "looks at a place, away for 8 to 512 frames by the episode's number, and back; both discrete, for protocols of "
        "`mstv evaluate` of these names (default: loopwalk; uniform for gym:ID)",
    )
    parser.add_argument(
        "--hold",
        type=options.positive,
        metavar="N",
        help="frames for which the policy holds an action; for explore-return and look-back those in which the engine "
        "walks a block or turns by 90 degrees (default: 9; 4 for uniform)",
    )
    parser.add_argument(
        "--episodes", type=options.positive, default=64, help="episodes there shall be in the end (default: 64)"
    )
    parser.add_argument("--frames", type=options.positive, default=1024, help="frames an episode (default: 1024)")
    parser.add_argument(
        "--size", type=options.size, default=(128, 128), help="N or HxW pixels, even (default: 128)", metavar="N|HxW"
    )
    parser.add_argument("--out", type=options.folder, required=True, help="folder of raw episodes, made if absent")
    parser.add_argument("--seed", type=options.natural, default=0, help="of all worlds and walks (default: 0)")
    parser.add_argument(
        "--worlds",
        type=options.positive,
        metavar="N",
        help="share N worlds among the episodes, each from another start (default: every episode has its own)",
    )
    parser.add_argument("--fps", type=options.rate, help="frames a second in the video (default: the engine's own)")
    parser.add_argument("--action-mode", choices=("discrete", "vector"), default="discrete", help="(default: discrete)")
    parser.add_argument(
        "--min-frames",
        type=options.positive,
        metavar="N",
        help="keep an episode that the engine ends by itself if it has N frames; without, such an episode is an error",
    )
    parser.add_argument("--engine-python", metavar="PYTHON", help="interpreter of the engine's own environment")
    parser.add_argument(
        "--engine-option",
        type=options.pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="argument of the environment's constructor; may be repeated",
    )
    parser.add_argument(
        "--step-seconds",
        type=options.seconds,
        default=60.0,
        metavar="SECONDS",
        help="an engine that takes longer for a frame hangs, and is restarted (default: 60)",
    )
    parser.add_argument(
        "--retries",
        type=options.natural,
        default=3,
        metavar="N",
        help="begin an episode again so often after its engine crashed or hung (default: 3)",
    )
    options.add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `mstv-data record`."""
    if arguments.min_frames and arguments.min_frames > arguments.frames:
        raise UserError(f"--min-frames {arguments.min_frames}: is more than --frames {arguments.frames}")
    recording = Recording(
        engine=EngineSettings(
            engine=find_engine(arguments.engine),
            size=arguments.size,
            action_mode=arguments.action_mode,
            python=arguments.engine_python,
            step_seconds=arguments.step_seconds,
            options=tuple(arguments.engine_option),
        ),
        policy=arguments.policy or ("loopwalk" if arguments.engine in ENGINES else "uniform"),
        num_frames=arguments.frames,
        seed=arguments.seed,
        num_worlds=arguments.worlds,
        fps=arguments.fps,
        min_frames=arguments.min_frames,
        retries=arguments.retries,
        hold=arguments.hold,
    )
    command = shlex.join(["mstv-data", *sys.argv[1:]])
    new, old = record(arguments.out, recording, arguments.episodes, arguments.workers, command, arguments.cluster)
    already = f" ({old} were there already)" if old else ""
    least = "up to " if recording.min_frames else ""
    print(f"{arguments.out}: recorded {new} episodes of {least}{recording.num_frames} frames{already}")
    return 0
