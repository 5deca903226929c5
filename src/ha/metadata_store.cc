#include "ha/metadata_store.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace weir {

absl::Status CheckMetadataKey(const std::string& key) {
  if (!key.empty() && key.size() <= MetadataStore::kMaxKeyBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("metadata key \"", absl::CHexEscape(key),
                                                 "\" must have 1 to ", MetadataStore::kMaxKeyBytes,
                                                 " bytes"));
}

absl::Status CheckMetadataValue(const std::string& key, const std::string& value) {
  if (value.size() <= MetadataStore::kMaxValueBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the value of metadata key \"", absl::CHexEscape(key), "\" has ", value.size(),
                   " bytes, above the limit of ", MetadataStore::kMaxValueBytes));
}

}  // namespace weir
