#include "jobmanager/lineage_records.h"

#include <vector>

#include "absl/strings/str_cat.h"

namespace weir::jobmanager {
namespace {

constexpr char kPrefix[] = "lineages/";

absl::StatusOr<uint64_t> VersionOf(MetadataStore& store, const std::string& key) {
  const absl::StatusOr<MetadataEntry> entry = store.Get(key);
  if (entry.ok()) return entry->version;
  if (absl::IsNotFound(entry.status())) return MetadataStore::kAbsent;
  return entry.status();
}

}  // namespace

absl::Status StoreLineage(MetadataStore& store, const std::string& lineage,
                          const proto::LineageRecord& record, LeaderEpoch epoch) {
  const std::string key = kPrefix + lineage;
  const absl::StatusOr<uint64_t> version = VersionOf(store, key);
  if (!version.ok()) return version.status();
  return store.Put(key, *version, record.SerializeAsString(), epoch).status();
}

absl::Status DeleteLineage(MetadataStore& store, const std::string& lineage, LeaderEpoch epoch) {
  const std::string key = kPrefix + lineage;
  const absl::StatusOr<uint64_t> version = VersionOf(store, key);
  if (!version.ok()) return version.status();
  return *version == MetadataStore::kAbsent ? absl::OkStatus() : store.Delete(key, *version, epoch);
}

absl::StatusOr<std::map<std::string, proto::LineageRecord>> ReadLineages(MetadataStore& store) {
  const absl::StatusOr<std::vector<std::string>> keys = store.List(kPrefix);
  if (!keys.ok()) return keys.status();
  std::map<std::string, proto::LineageRecord> lineages;
  for (const std::string& key : *keys) {
    const absl::StatusOr<MetadataEntry> entry = store.Get(key);
    if (!entry.ok()) return entry.status();
    proto::LineageRecord record;
    if (!record.ParseFromString(entry->value)) {
      return absl::DataLossError(
          absl::StrCat("the record ", key, " in ", store.Describe(), " cannot be read"));
    }
    if (record.format() != kLineageRecordFormat) {
      return absl::FailedPreconditionError(
          absl::StrCat("the record ", key, " in ", store.Describe(), " has format ",
                       record.format(), "; this build reads ", kLineageRecordFormat));
    }
    lineages[key.substr(sizeof kPrefix - 1)] = std::move(record);
  }
  return lineages;
}

}  // namespace weir::jobmanager
