// The one place that names Catch2, so that version 2 (Debian 12) and version 3 both work.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#if defined(__wasm__)
#define CATCH_CONFIG_NO_POSIX_SIGNALS
#endif
#include <catch2/catch.hpp>
#endif

// An exception ends a WebAssembly program: what must throw is tested on the other processors.
#if defined(__wasm__)
#undef CHECK_THROWS_AS
#undef CHECK_THROWS_WITH
#define CHECK_THROWS_AS(...) static_cast<void>(0)
#define CHECK_THROWS_WITH(...) static_cast<void>(0)
#endif
