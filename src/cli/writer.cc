#include "cli/writer.h"

#include <array>
#include <boost/json.hpp>

#include "resources/decode.h"

namespace ocicat::cli {
namespace {

namespace json = boost::json;

// Of writers that race one gets through each time, so this is how many may race.
constexpr int kAttempts = 100;
constexpr std::array<std::string_view, 6> kSetByServer{"resourceVersion", "uid",      "creationTimestamp",
                                                       "generation",      "selfLink", "managedFields"};

json::object comparable(json::object object) {
  if (auto* metadata = object.if_contains("metadata"); metadata && metadata->is_object()) {
    auto& fields = metadata->get_object();
    for (const std::string_view field : kSetByServer) fields.erase(field);
    for (const std::string_view field : {"labels", "annotations"}) {
      const auto* map = fields.if_contains(field);
      if (map && map->is_object() && map->get_object().empty()) fields.erase(field);
    }
  }
  return object;
}

// What `wanted` becomes where `stored` is there already: it keeps the status, which is not the writer's to
// set.
json::object over(const json::object& stored, json::object wanted) {
  if (const auto* status = stored.if_contains("status"); status && !wanted.contains("status")) {
    wanted["status"] = *status;
  }
  return wanted;
}

std::string version_of(const json::object& object) {
  const auto* metadata = object.if_contains("metadata");
  if (!metadata || !metadata->is_object()) return {};
  const auto* version = metadata->get_object().if_contains("resourceVersion");
  return version && version->is_string() ? std::string(version->get_string()) : std::string();
}

void set_version(json::object& object, const std::string& version) {
  auto& metadata = object["metadata"];
  if (!metadata.is_object()) metadata.emplace_object();
  if (version.empty()) {
    metadata.get_object().erase("resourceVersion");
  } else {
    metadata.get_object()["resourceVersion"] = version;
  }
}

Result<Written> create(api::Client& client, json::object object, bool dry_run) {
  set_version(object, "");
  TRY(json::object stored, client.create(object, dry_run));
  return Written{"created", dry_run ? std::move(object) : std::move(stored)};
}

Result<Written> replace(api::Client& client, const json::object& stored, json::object object, WriteMode mode,
                        bool dry_run) {
  const std::string pinned = mode == WriteMode::kReplace ? version_of(object) : "";
  object = over(stored, std::move(object));
  if (same_meaning(stored, object) && (pinned.empty() || pinned == version_of(stored))) {
    return Written{mode == WriteMode::kApply ? "unchanged" : "replaced", stored};
  }
  set_version(object, pinned.empty() ? version_of(stored) : pinned);
  const std::string_view what = mode == WriteMode::kApply ? "configured" : "replaced";
  TRY(json::object updated, client.update(object, dry_run));
  return Written{what, dry_run ? std::move(object) : std::move(updated)};
}

Result<Written> write_once(api::Client& client, const ResourceKey& key, const json::object& object,
                           WriteMode mode, bool dry_run) {
  if (mode == WriteMode::kCreate && !dry_run) return create(client, object, false);
  const auto stored = client.get(key);
  if (!stored && stored.error().code != ErrorCode::kNotFound) return std::unexpected(stored.error());
  if (!stored) {
    if (mode == WriteMode::kReplace) {
      return fail(ErrorCode::kNotFound, "is not there: `ocicat create` or `ocicat apply` makes it");
    }
    return create(client, object, dry_run);
  }
  if (mode == WriteMode::kCreate) return fail(ErrorCode::kAlreadyExists, "is there already");
  return replace(client, *stored, object, mode, dry_run);
}

}  // namespace

bool same_meaning(const json::object& stored, const json::object& wanted) {
  return comparable(stored) == comparable(over(stored, wanted));
}

Result<Written> write_object(api::Client& client, const json::object& object, WriteMode mode, bool dry_run) {
  TRY(const ResourceKey key, key_of(object));
  const bool pinned = mode == WriteMode::kReplace && !version_of(object).empty();
  for (int attempt = 1;; ++attempt) {
    auto written = write_once(client, key, object, mode, dry_run);
    if (written || attempt == kAttempts || pinned) return written;
    const ErrorCode code = written.error().code;
    // Somebody else wrote, created or deleted it since it was read.
    const bool raced =
        code == ErrorCode::kConflict ||
        (mode == WriteMode::kApply && (code == ErrorCode::kAlreadyExists || code == ErrorCode::kNotFound));
    if (!raced) return written;
  }
}

Result<json::object> edit_object(api::Client& client, const ResourceKey& key,
                                 const std::function<Result<void>(json::object&)>& change) {
  for (int attempt = 1;; ++attempt) {
    TRY(json::object stored, client.get(key));
    json::object object = stored;
    TRY_VOID(change(object));
    if (object == stored) return stored;
    auto updated = client.update(object);
    if (updated || attempt == kAttempts || updated.error().code != ErrorCode::kConflict) return updated;
  }
}

}  // namespace ocicat::cli
