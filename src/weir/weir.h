#pragma once

/// Everything that a job needs:
///
///   #include <weir/weir.h>
///
///   WEIR_JOB(env, args) {
///     env.From(...).KeyBy(...) ... .To(...);
///   }

#include "api/aggregates.h"
#include "api/args.h"
#include "api/batching_sink.h"
#include "api/data_stream.h"
#include "api/environment.h"
#include "api/function.h"
#include "api/job.h"
#include "api/keyed_stream.h"
#include "api/watermarks.h"
#include "api/windowed_stream.h"
#include "connectors/collection/collect.h"
#include "connectors/collection/from_collection.h"
#include "connectors/file/read_lines.h"
#include "connectors/format/json_format.h"
#include "connectors/format/text_format.h"
#include "connectors/generator/generate.h"
#include "connectors/kafka/sink.h"
#include "connectors/kafka/source.h"
#include "connectors/nexmark/source.h"
#include "connectors/print/print.h"
