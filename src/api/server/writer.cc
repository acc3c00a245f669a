#include "api/server/writer.h"

#include <spdlog/spdlog.h>

#include <boost/json/serialize.hpp>

#include <chrono>
#include <random>

#include "api/server/rules.h"
#include "api/server/stored_text.h"
#include "base/time_text.h"

namespace ocicat::api {

namespace json = boost::json;

namespace {

// A random UUID (RFC 4122, version 4).
std::string new_uid() {
  thread_local std::random_device random;
  const std::uint32_t a = random(), b = random(), c = random(), d = random();
  return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:04x}{:08x}", a, b >> 16, b & 0xfff,
                     0x8000 | ((c >> 16) & 0x3fff), c & 0xffff, d);
}

// An agent reports every few seconds, and the next report makes up for one that a loss of power took: such
// writes need not wait for the disk.
store::Durability durability_of(Kind kind) {
  return kind == Kind::kAgentStatus ? store::Durability::kProcess : store::Durability::kDisk;
}

// Everything but metadata and status: what metadata.generation counts.
bool same_intent(const json::object& a, const json::object& b) {
  const auto covers = [](const json::object& left, const json::object& right) {
    for (const auto& [name, value] : left) {
      if (name == "metadata" || name == "status") continue;
      const auto* other = right.if_contains(name);
      if (!other || *other != value) return false;
    }
    return true;
  };
  return covers(a, b) && covers(b, a);
}

std::int64_t generation_of(const json::object& object) {
  const auto* value = child_object(object, "metadata").if_contains("generation");
  return value && value->is_int64() ? value->get_int64() : 1;
}

// What an edit refuses (kInvalid, see Writer::run) is no trouble of the store's.
void log_trouble(bool& failing, const Result<store::Committed>& committed) {
  if (!committed && committed.error().code == ErrorCode::kInvalid) return;
  if (!committed && !failing) spdlog::error("cannot write, readers go on: {}", committed.error().message);
  if (committed && failing) spdlog::info("can write again");
  failing = !committed;
}

}  // namespace

// One write under way. The edit leaves here what the store's own answer has no room for.
struct Writer::Attempt {
  ResourceKey key;
  std::function<Answer<std::optional<store::Change>>(const store::View&)> decide;
  std::optional<Failure> failure;
  Written unchanged;  // what is there, where nothing has to be written
};

void Writer::run(const std::shared_ptr<Attempt>& attempt, bool dry_run, OnWritten on_written) {
  store::Edit edit = [attempt](const store::View& view) -> Result<std::optional<store::Change>> {
    attempt->failure.reset();
    const auto* stored = view.get(attempt->key);
    attempt->unchanged = stored ? Written{stored->document, stored->revision} : Written{};
    auto decision = attempt->decide(view);
    if (decision) return *std::move(decision);
    attempt->failure = std::move(decision).error();
    return fail(ErrorCode::kInvalid, "{}", attempt->failure->message);
  };
  const auto refusal = [attempt](const Error& error) {
    return std::unexpected(attempt->failure && error.code == ErrorCode::kInvalid
                               ? *attempt->failure
                               : failure_of(error, attempt->key));
  };
  if (dry_run) {
    auto change = store_.rehearse(edit);
    if (!change) return on_written(refusal(change.error()));
    auto written = attempt->unchanged;
    if (*change && (*change)->document)
      written.text = std::make_shared<const std::string>(*std::move((*change)->document));
    return on_written(std::move(written));
  }
  store_.submit(std::move(edit), durability_of(attempt->key.kind),
                [attempt, refusal, failing = failing_,
                 on_written = std::move(on_written)](Result<store::Committed> committed) {
                  log_trouble(*failing, committed);
                  if (!committed) return on_written(refusal(committed.error()));
                  if (!committed->changed) return on_written(attempt->unchanged);
                  on_written(Written{committed->entry.document, committed->entry.revision});
                });
}

void Writer::create(Submitted submitted, bool dry_run, OnWritten on_written) {
  if (submitted.revision != 0)
    return on_written(
        std::unexpected(bad_request("resourceVersion should not be set on objects to be created")));
  complete(submitted.key.kind, submitted.object);
  auto& metadata = submitted.object["metadata"].get_object();
  metadata["uid"] = new_uid();
  metadata["creationTimestamp"] =
      seconds_text(std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()));
  metadata["generation"] = 1;

  auto attempt = std::make_shared<Attempt>();
  attempt->key = submitted.key;
  attempt->decide =
      [submitted = std::move(submitted)](const store::View& view) -> Answer<std::optional<store::Change>> {
    const auto& key = submitted.key;
    if (view.get(key)) return std::unexpected(failure_of({ErrorCode::kAlreadyExists, {}}, key));
    if (auto failure = may_create(view, key, submitted.object)) return std::unexpected(*std::move(failure));
    return store::Change{key, to_stored_text(submitted.object)};
  };
  run(attempt, dry_run, std::move(on_written));
}

void Writer::update(Submitted submitted, bool dry_run, OnWritten on_written) {
  complete(submitted.key.kind, submitted.object);
  auto attempt = std::make_shared<Attempt>();
  attempt->key = submitted.key;
  attempt->decide =
      [submitted = std::move(submitted)](const store::View& view) -> Answer<std::optional<store::Change>> {
    const auto& key = submitted.key;
    const auto* entry = view.get(key);
    if (!entry) return std::unexpected(failure_of({ErrorCode::kNotFound, {}}, key));
    const auto stored = from_stored_text(*entry->document);
    const auto& before = child_object(stored, "metadata");
    if (!submitted.uid.empty() && submitted.uid != child_text(before, "uid")) {
      return std::unexpected(failure_of(
          {ErrorCode::kConflict, "the object has been deleted and made anew (its uid is another)"}, key));
    }
    if (submitted.revision != 0 && submitted.revision != entry->revision) {
      return std::unexpected(failure_of(
          {ErrorCode::kConflict,
           "the object has been modified; please apply your changes to the latest version and try again"},
          key));
    }
    auto object = submitted.object;
    if (auto failure = may_update(view, key, object, stored)) return std::unexpected(*std::move(failure));
    auto& metadata = object["metadata"].get_object();
    for (const std::string_view kept : {"uid", "creationTimestamp"}) {
      if (const auto* value = before.if_contains(kept)) metadata[kept] = *value;
    }
    metadata["generation"] = generation_of(stored) + (same_intent(object, stored) ? 0 : 1);
    if (object == stored) return std::nullopt;  // as Kubernetes does: no change, no new revision
    return store::Change{key, to_stored_text(object)};
  };
  run(attempt, dry_run, std::move(on_written));
}

void Writer::remove(const ResourceKey& key, const DeleteOptions& options, OnWritten on_written) {
  auto attempt = std::make_shared<Attempt>();
  attempt->key = key;
  attempt->decide = [key, options](const store::View& view) -> Answer<std::optional<store::Change>> {
    const auto* entry = view.get(key);
    if (!entry) return std::unexpected(failure_of({ErrorCode::kNotFound, {}}, key));
    if (options.revision != 0 && options.revision != entry->revision) {
      return std::unexpected(failure_of({ErrorCode::kConflict, "the object has been modified since"}, key));
    }
    if (!options.uid.empty() &&
        options.uid != child_text(child_object(from_stored_text(*entry->document), "metadata"), "uid")) {
      return std::unexpected(failure_of({ErrorCode::kConflict, "its uid is another"}, key));
    }
    if (auto failure = may_delete(view, key, options.orphan)) return std::unexpected(*std::move(failure));
    return store::Change{key, std::nullopt};
  };
  run(attempt, options.dry_run, std::move(on_written));
}

}  // namespace ocicat::api
