#pragma once

/// Weir's version; CMakeLists.txt reads it from here.
#define WEIR_VERSION "0.1.0"

/// Raised whenever a class or function that a job library uses changes its layout or meaning.
/// A library stamped with another number is refused before it is loaded.
#ifndef WEIR_ABI_VERSION
#define WEIR_ABI_VERSION 10
#endif
