# 64-bit RISC-V under Linux by Debian's cross compiler (g++-riscv64-linux-gnu), executed by qemu-user (8 or newer) with
# vectors of 128 bits, as the row rvv wants them.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR riscv64)
set(CMAKE_C_COMPILER riscv64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER riscv64-linux-gnu-g++)
set(CMAKE_CXX_STANDARD_LIBRARIES_INIT "-latomic")  # GCC calls it for the atomics of single bytes
set(kindling_qemu "${CMAKE_CURRENT_LIST_DIR}/../../build/cross/qemu/qemu-riscv64")  # emulator.sh
if(NOT EXISTS "${kindling_qemu}")
  set(kindling_qemu qemu-riscv64)
endif()
set(CMAKE_CROSSCOMPILING_EMULATOR ${kindling_qemu} -cpu rv64,v=true,vlen=128,elen=64,vext_spec=v1.0 -L /usr/riscv64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH /usr/riscv64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
