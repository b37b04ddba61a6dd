class POVObservation:
    def __init__(self, resolution):
        self.resolution = resolution

    def to_string(self):
        return "pov"


class ObservationFromCurrentLocation:
    def to_string(self):
        return "location_stats"
