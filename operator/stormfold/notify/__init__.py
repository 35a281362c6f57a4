"""People hear of each storm by one alert."""
