#pragma once

#include "api/args.h"
#include "api/environment.h"
#include "api/keyed_stream.h"
#include "api/windowed_stream.h"
#include "base/abi.h"

/// Defines the job of a job library:
///
///   WEIR_JOB(env, args) {
///     env.From(...).KeyBy(...) ... .To(...);
///   }
///
/// The function runs where the job is submitted (twice, and both graphs must be equal) and on every
/// TaskManager, so it depends on `args` alone: no clock, no randomness, no files. Throw weir::Error
/// to refuse the arguments.
#define WEIR_JOB(env, args)                                                    \
  WEIR_ABI_NOTE();                                                             \
  static void WeirJobBody(::weir::Environment& env, const ::weir::Args& args); \
  extern "C" __attribute__((used, visibility("default"))) void weir_job_main(  \
      ::weir::Environment& weir_env, const ::weir::Args& weir_args) {          \
    WeirJobBody(weir_env, weir_args);                                          \
  }                                                                            \
  static void WeirJobBody([[maybe_unused]] ::weir::Environment& env,           \
                          [[maybe_unused]] const ::weir::Args& args)
