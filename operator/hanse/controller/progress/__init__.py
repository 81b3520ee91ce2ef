"""Progress that launchers push: `server` receives, `authenticate` decides, `store` remembers, `serving` has the key."""
