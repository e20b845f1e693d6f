# CMakeLists.txt is the only list of sources. This file lets `node-gyp rebuild` and prebuildify drive CMake.
{
  "targets": [{
    "target_name": "heddle",
    "type": "none",
    "actions": [{
      "action_name": "cmake_build",
      "message": "heddle: building through CMake",
      # With no input, or an output that exists, make would stop entering CMake, which alone knows what is stale.
      "inputs": ["CMakeLists.txt"],
      "outputs": ["<(PRODUCT_DIR)/.always-run-cmake"],
      "action": ["node", "<(module_root_dir)/tools/build_native.cjs",
                 "--config", "<(CONFIGURATION_NAME)", "--dest", "<(PRODUCT_DIR)", "--arch", "<(target_arch)"]
    }]
  }]
}
