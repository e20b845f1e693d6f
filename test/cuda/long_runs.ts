// Imported first by tests that run whole models: the kernels' own tests watch every access of the emulated device, which takes long.
process.env.HEDDLE_EMULATOR_CHECKS ??= '0';
process.env.HEDDLE_EMULATOR_PROTECT ??= '0';
