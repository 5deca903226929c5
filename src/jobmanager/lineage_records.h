#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ha/metadata_store.h"
#include "proto/job_record.pb.h"

/// What PastLineages knows, in the metadata store. Every call blocks. Writes belong on one strand.
namespace weir::jobmanager {

inline constexpr uint32_t kLineageRecordFormat = 1;

[[nodiscard]] absl::Status StoreLineage(MetadataStore& store, const std::string& lineage,
                                        const proto::LineageRecord& record, LeaderEpoch epoch);
/// Ok, too, if there is none.
[[nodiscard]] absl::Status DeleteLineage(MetadataStore& store, const std::string& lineage,
                                         LeaderEpoch epoch);
/// By lineage. DataLoss or FailedPrecondition names a record that cannot be read.
absl::StatusOr<std::map<std::string, proto::LineageRecord>> ReadLineages(MetadataStore& store);

}  // namespace weir::jobmanager
