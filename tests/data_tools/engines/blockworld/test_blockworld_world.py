import math

import numpy as np
import pytest

from data_tools.engines.blockworld.blocks import BLOCKS, TEXTURE_NAMES, Block, face_textures
from data_tools.engines.blockworld.cells import FIRST_BLOCK, OPEN, OUTSIDE
from data_tools.engines.blockworld.kernel import kernel
from data_tools.engines.blockworld.landmarks import BUILDERS, RADIUS, TALLEST
from data_tools.engines.blockworld.noise import Dice
from data_tools.engines.blockworld.raycast import CLOUD_CELLS, WATER
from data_tools.engines.blockworld.textures import TEXELS, build_textures
from data_tools.engines.blockworld.trig import sin_cos
from data_tools.engines.blockworld.world import CLOUD_CELLS as CLOUDS
from data_tools.engines.blockworld.world import build_world


def test_sine_and_cosine_are_right_and_symmetric():
    for angle in range(-400_000, 400_000, 777):
        sine, cosine = sin_cos(angle)
        assert abs(sine - math.sin(math.radians(angle / 1000))) < 2e-15
        assert abs(cosine - math.cos(math.radians(angle / 1000))) < 2e-15
        assert sin_cos(angle + 180_000) == (-sine, -cosine)
    assert [sin_cos(quarter * 90_000) for quarter in range(4)] == [(0, 1), (1, 0), (0, -1), (-1, 0)]


def test_worlds_follow_from_their_seed():
    one, same, other = build_world(7), build_world(7), build_world(8)
    assert np.array_equal(one.blocks, same.blocks) and np.array_equal(one.spawns, same.spawns)
    assert (one.blocks != other.blocks).mean() > 0.02
    with pytest.raises(ValueError, match="read-only"):
        one.blocks[0, 0, 0] = 1


@pytest.mark.parametrize("seed", range(6))
def test_worlds_have_ground_water_trees_and_landmarks(seed):
    world = build_world(seed)
    kinds = set(np.unique(world.blocks).tolist())
    assert {Block.WATER, Block.SAND, Block.GRASS, Block.DIRT, Block.STONE} <= kinds
    trunks = np.isin(world.blocks, [Block.OAK_LOG, Block.BIRCH_LOG, Block.SPRUCE_LOG]).any(axis=2)
    assert trunks.sum() > 60
    assert {mark.kind for mark in world.landmarks} == set(BUILDERS)
    assert len({mark.colours for mark in world.landmarks}) == len(world.landmarks)
    assert len(world.spawns) > 200
    # The sea closes the map on all sides.
    rim = np.concatenate([world.blocks[0], world.blocks[-1], world.blocks[:, 0], world.blocks[:, -1]])
    assert (rim == Block.WATER).any(axis=1).all()
    wools = [(world.blocks[m.x - RADIUS : m.x + RADIUS + 1, m.z - RADIUS : m.z + RADIUS + 1] >= Block.WOOL).sum()
             for m in world.landmarks]  # fmt: skip
    assert min(wools) > 3


@pytest.mark.parametrize("kind", BUILDERS)
def test_buildings_fit_their_site(kind):
    for seed in range(30):
        building = BUILDERS[kind](Dice(seed), (Block.WOOL, Block.WOOL + 1))
        assert building.shape[0] % 2 == building.shape[1] % 2 == 1
        assert max(building.shape[:2]) <= 2 * RADIUS + 1 and building.shape[2] <= TALLEST
        assert building.any(axis=(0, 1))[-1] and building.max() < BLOCKS


def test_leaps_pass_through_air_only():
    world = build_world(3, 64)
    air = np.pad(world.blocks == 0, 1)
    codes = world.cells.astype(int)
    assert np.array_equal((codes >= FIRST_BLOCK) & (codes != OUTSIDE), np.pad(world.blocks != 0, 1))
    rng = np.random.default_rng(0)
    places = np.argwhere(air)
    leaps = 0
    for x, z, y in places[rng.permutation(len(places))[:5000]]:
        code = codes[x, z, y]
        leap = code - OPEN if code >= OPEN else code
        heights = slice(y, -1) if code >= OPEN else slice(y - leap, y + leap + 1)
        assert min(x, z) - leap >= 1 and max(x, z) + leap <= world.size
        assert air[x - leap : x + leap + 1, z - leap : z + leap + 1, heights].all()
        leaps += leap > 1
    assert leaps > 1000


def test_textures_are_complete_and_their_mips_are_means():
    textures = build_textures()
    assert textures.shape == (len(TEXTURE_NAMES), TEXELS, 3)
    assert np.allclose(textures[:, :256].mean(axis=1), textures[:, -1], atol=2.5)
    assert face_textures().max() == len(TEXTURE_NAMES) - 1
    assert len({texture.tobytes() for texture in textures}) == len(TEXTURE_NAMES)


def test_constants_repeated_for_the_kernels_agree():
    assert CLOUD_CELLS == CLOUDS and Block.WATER == WATER


def test_kernels_work_where_nothing_can_be_cached():
    # numba finds no folder to cache a function without a source file, exactly as in a read-only container.
    space = {}
    exec("def double(x):\n    return 2 * x", space)
    assert kernel(space["double"])(21) == 42
