from enum import Enum

KEYS = ("attack", "back", "forward", "jump", "left", "right", "sneak", "sprint", "use", "drop", "inventory")


class ActionSpaceVersion(Enum):
    V1_MINEDOJO = 1
    V2_MINERL_HUMAN = 2


def no_op_v2():
    action = {key: False for key in KEYS}
    action.update({f"hotbar.{number}": False for number in range(1, 10)})
    action.update(camera_pitch=0.0, camera_yaw=0.0)
    return action
