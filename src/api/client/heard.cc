#include "api/client/heard.h"

#include <spdlog/spdlog.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/system/error_code.hpp>
#include <utility>

#include "base/whole_file.h"

namespace ocicat::api {

namespace json = boost::json;

namespace {

// As AgentStatus names kinds.
std::string name_of(const KindInfo& kind) {
  return kind.group.empty() ? std::string(kind.name) : fmt::format("{}.{}", kind.name, kind.group);
}

std::string text_of(const Revisions& revisions) {
  json::object all;
  for (const auto& [kind, progress] : revisions)
    all[name_of(info(kind))] = {{"revision", progress.revision}, {"incarnation", progress.incarnation}};
  return json::serialize(all) + "\n";
}

std::optional<Progress> progress_of(const json::value& value) {
  const auto* object = value.if_object();
  const auto* revision = object == nullptr ? nullptr : object->if_contains("revision");
  const auto* incarnation = object == nullptr ? nullptr : object->if_contains("incarnation");
  if (revision == nullptr || incarnation == nullptr || !incarnation->is_string()) return std::nullopt;
  boost::system::error_code error;
  const auto number = revision->to_number<std::uint64_t>(error);
  if (error || incarnation->as_string().empty()) return std::nullopt;
  return Progress{number, std::string(incarnation->as_string())};
}

// Kinds that this version does not know are passed over.
std::optional<Revisions> revisions_of(std::string_view text) {
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  if (error || !value.is_object()) return std::nullopt;
  Revisions revisions;
  for (const auto& kind : all_kinds()) {
    const auto* entry = value.as_object().if_contains(name_of(kind));
    if (entry == nullptr) continue;
    auto progress = progress_of(*entry);
    if (!progress) return std::nullopt;
    revisions[kind.kind] = *std::move(progress);
  }
  return revisions;
}

}  // namespace

void advance(Progress& furthest, const Progress& now) {
  if (now.incarnation != furthest.incarnation || now.revision > furthest.revision) furthest = now;
}

Heard::Heard(std::string path) : path_(std::move(path)) {
  const std::string text = path_.empty() ? "" : read_whole(path_);
  if (text.empty()) return;
  auto revisions = revisions_of(text);
  if (!revisions) {
    spdlog::warn("{} does not say how far the server was heard of: the first lists count, however old",
                 path_);
    return;
  }
  newest_ = kept_ = *std::move(revisions);
}

Progress Heard::of(Kind kind) const {
  const auto found = newest_.find(kind);
  return found == newest_.end() ? Progress{} : found->second;
}

bool Heard::learn(const Revisions& news) {
  for (const auto& [kind, progress] : news) {
    if (progress.incarnation.empty()) {
      newest_.erase(kind);
    } else {
      advance(newest_[kind], progress);
    }
  }
  return !path_.empty() && newest_ != kept_;
}

void Heard::keep() {
  if (path_.empty() || newest_ == kept_) return;
  // Who loses power has nothing in the kernel either that an old list could take away.
  const auto written = write_whole(path_, text_of(newest_), false);
  if (written) kept_ = newest_;
  if (!written && !failing_)
    spdlog::warn("cannot keep how far the server was heard of, goes on trying: {}", written.error().message);
  failing_ = !written;
}

}  // namespace ocicat::api
