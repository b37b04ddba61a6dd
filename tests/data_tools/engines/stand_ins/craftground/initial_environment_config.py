from enum import Enum


class Difficulty(Enum):
    PEACEFUL = 0
    NORMAL = 2


class DaylightMode(Enum):
    DEFAULT = 0
    ALWAYS_DAY = 1


class InitialEnvironmentConfig:
    def __init__(
        self,
        image_width=640,
        image_height=360,
        difficulty=Difficulty.NORMAL,
        seed="",
        hud_hidden=False,
        render_distance=6,
        no_fov_effect=False,
        **kwargs,
    ):
        assert isinstance(seed, str), "protobuf takes a string only"
        self.imageSizeX, self.imageSizeY = image_width, image_height
        self.difficulty = difficulty.value
        self.seed = seed
        self.isHudHidden = hud_hidden
        self.render_distance = render_distance
        self.no_fov_effect = no_fov_effect
        self.initialExtraCommands = []
        if kwargs:
            print(f"Unexpected Kwargs: {kwargs}")

    def set_initial_weather(self, weather):
        self.initialExtraCommands.append(f"weather {weather}")
        return self

    def freeze_weather(self, freeze=True):
        self.initialExtraCommands.append(f"gamerule doWeatherCycle {str(not freeze).lower()}")
        return self

    def set_allow_mob_spawn(self, allow=True):
        self.initialExtraCommands.append(f"gamerule doMobSpawning {str(allow).lower()}")
        return self

    def set_daylight_cycle_mode(self, mode):
        if mode == DaylightMode.ALWAYS_DAY:
            self.initialExtraCommands += ["time set day", "gamerule doDaylightCycle false"]
        return self
