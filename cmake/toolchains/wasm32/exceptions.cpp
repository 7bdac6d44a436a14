// The C++ library for WebAssembly has no exceptions: the one thrown is named, and the program ends.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <typeinfo>

extern "C" {

void* __cxa_allocate_exception(unsigned long size) { return std::malloc(size); }
void __cxa_free_exception(void* thrown) { std::free(thrown); }

// Every exception of this library derives from std::exception alone, whose part lies first.
[[noreturn]] void __cxa_throw(void* thrown, std::type_info* type, void (*)(void*)) {
  std::fprintf(stderr, "%s: %s\n", type->name(), static_cast<std::exception*>(thrown)->what());
  std::_Exit(3);
}

void* __cxa_begin_catch(void* thrown) { return thrown; }
void __cxa_end_catch() {}
[[noreturn]] void __cxa_rethrow() { std::_Exit(3); }

// The one thread ends with the instance, and its memory with it.
int __cxa_thread_atexit(void (*)(void*), void*, void*) { return 0; }

// Debian's compiler runtime is built with a stack protector, its C library without one.
std::uintptr_t __stack_chk_guard = 0x2c0ffee5;
[[noreturn]] void __stack_chk_fail() { std::abort(); }
}
