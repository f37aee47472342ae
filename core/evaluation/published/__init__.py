"""What authors published beside their methods: `presets` the settings, `names` the class names, `figures` the mIoU."""
