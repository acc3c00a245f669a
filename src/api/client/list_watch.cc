#include "api/client/list_watch.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "api/client/heard.h"
#include "http/message.h"
#include "resources/decode.h"

namespace ocicat::api {

namespace json = boost::json;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kFirstPause{10};
constexpr milliseconds kLongestPause{5'000};
constexpr std::chrono::seconds kShortestWatch{1};
constexpr std::size_t kMostOfRefusal = 64 * 1024;

std::uint64_t number_of(std::string_view resource_version) {
  std::uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(resource_version.data(), resource_version.data() + resource_version.size(), number);
  return error == std::errc() && end == resource_version.data() + resource_version.size() ? number : 0;
}

}  // namespace

milliseconds Backoff::next() {
  const auto whole =
      std::min<std::int64_t>(kLongestPause.count(), kFirstPause.count() << std::min(failures_, 16));
  ++failures_;
  return milliseconds(std::uniform_int_distribution<std::int64_t>(whole / 2, whole)(random_));
}

std::string ListWatch::ask(Time now) {
  listing_ = resource_version_.empty();
  began_ = now;
  status_ = 0;
  answering_store_.clear();
  list_.reset();
  body_.clear();
  lines_ = {};
  broken_.reset();
  auto target = path_of(kind_, std::nullopt);
  if (!listing_) {
    target += fmt::format("?watch=true&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}",
                          kWatchTime.count(), http::percent_encode(resource_version_));
    if (!store_.empty()) target += "&store=" + http::percent_encode(store_);
  }
  return target;
}

ListWatch::Step ListWatch::head(int status, std::string_view store) {
  status_ = status;
  answering_store_ = store;
  if (status != 200) return {};
  if (listing_) {
    begin_list();
    return {};
  }
  known_of_ = store;
  Step step{.answered = true};
  // Another incarnation has found that what we know is part of its past: it counts there as well.
  if (std::exchange(store_, answering_store_) != answering_store_) {
    progress(step.update, std::string(resource_version_));
  }
  return step;
}

ListWatch::Step ListWatch::data(std::string_view data) {
  if (status_ != 200) {
    body_ += data.substr(0, kMostOfRefusal - body_.size());
    return {};
  }
  if (listing_) return take_items(data);
  Update update;
  auto fed = lines_.feed(data, [&](std::string_view line) { return take_line(update, line); });
  if (!fed) broken_ = fed.error();
  Step step;
  if (broken_) {
    step = end_watch({}, {});
    step.next = Step::Next::kHangUp;
  }
  step.update = std::move(update);
  return step;
}

ListWatch::Step ListWatch::end(Result<void> result, Time now) {
  if (!listing_) return end_watch(std::move(result), now - began_);
  if (!result) return try_again(result.error());
  if (status_ != 200) return try_again(error_of(status_, body_));
  return take_list();
}

void ListWatch::begin_list() {
  ListReader::TakeText take_text;
  if (kind_ == Kind::kWorkloadEndpoint)
    take_text = [this](std::string_view text) { return take_plain_item(text); };
  list_ = std::make_unique<ListReader>(kind_, std::move(take_text));
  ++lists_;
  if (answering_store_ == known_of_) return;
  for (auto& [key, known] : known_) known.revision = 0;
  known_of_ = answering_store_;
}

ListWatch::Step ListWatch::take_items(std::string_view data) {
  const auto fed = list_->feed(data, [this](const json::object& object) { take_item(object); });
  Step step;
  if (!fed) {
    step = try_again(fed.error());
    step.next = Step::Next::kHangUp;
  } else if (!listed_ && held_.resources.size() + held_.unreadable.size() >= items_at_once_) {
    step.update = std::exchange(held_, {});
  }
  return step;
}

void ListWatch::take_item(const json::object& object) {
  auto key = key_of(object);
  if (!key || key->kind != kind_) return;
  const auto revision = number_of(resource_version_of(object));
  if (auto* place = place_of(*std::move(key), revision)) put(held_, *place, revision, decode(kind_, object));
}

std::size_t ListWatch::take_plain_item(std::string_view text) {
  Resource resource(std::in_place_type<WorkloadEndpoint>);
  auto& endpoint = std::get<WorkloadEndpoint>(resource);
  const auto bytes = read_plain_endpoint(text, endpoint);
  if (bytes == 0) return 0;
  const auto& metadata = endpoint.metadata;
  const auto revision = number_of(metadata.resource_version);
  if (auto* place = place_of({kind_, metadata.ns, metadata.name}, revision))
    put(held_, *place, revision, std::move(resource));
  return bytes;
}

ListWatch::Place* ListWatch::place_of(ResourceKey key, std::uint64_t revision) {
  // Lists are in order, or nearly so: next to the end is the place of the first list's items.
  const auto place = known_.try_emplace(known_.end(), std::move(key));
  auto& known = place->second;
  known.list = lists_;
  const bool is_known =
      known.revision != 0 && known.readable_once && !known.unreadable && known.revision == revision;
  return is_known ? nullptr : &*place;
}

ListWatch::Step ListWatch::take_list() {
  const auto version = list_->end();
  list_.reset();
  if (!version) return try_again(version.error());
  // Some cache between that lags behind: what it does not list may be there, and in use.
  if (!answering_store_.empty() && answering_store_ == newest_.incarnation &&
      number_of(*version) < newest_.revision) {
    auto step = try_again(
        {ErrorCode::kUnavailable,
         fmt::format("the list is of revision {}, and {} has been heard of already, so what it lacks may be "
                     "there: waits for one as new, or for the server to be started again",
                     *version, newest_.revision)});
    step.behind = true;
    return step;
  }

  Step step{.update = std::exchange(held_, {}), .next = Step::Next::kAsk};
  for (auto at = known_.begin(); at != known_.end();) {
    const auto& [key, known] = *at;
    if (known.list == lists_) {
      ++at;
    } else {
      tell_gone(step.update, key, known);
      at = known_.erase(at);
    }
  }
  store_ = answering_store_;
  progress(step.update, *version);
  listed_ = true;
  return step;
}

bool ListWatch::take_line(Update& update, std::string_view line) {
  auto event = parse_event(line);
  if (!event) {
    broken_ = event.error();
    return false;
  }
  const std::string version(resource_version_of(event->object));
  switch (event->type) {
    case Client::EventType::kAdded:
    case Client::EventType::kModified:
      put(update, event->object);
      break;
    case Client::EventType::kDeleted:
      if (const auto key = key_of(event->object)) forget(update, *key);
      break;
    case Client::EventType::kBookmark:
      // Where the next watch goes on. Of this kind nothing has happened, so nobody has to be told.
      if (!version.empty()) resource_version_ = version;
      backoff_.reset();
      return true;
  }
  progress(update, version);
  backoff_.reset();
  return true;
}

ListWatch::Step ListWatch::end_watch(Result<void> result, std::chrono::nanoseconds took) {
  if (!broken_ && status_ != 200 && status_ != 0) broken_ = error_of(status_, body_);
  // Of other data or too far behind: list anew, and tell what vanished meanwhile.
  if (broken_ && broken_->code == ErrorCode::kExpired) resource_version_.clear();
  if (broken_) return try_again(*broken_);
  if (!result) return try_again(result.error());
  // The usual end of a watch; but a server that ends each one at once is not asked again at once.
  if (took < kShortestWatch)
    return try_again({ErrorCode::kUnavailable, "the server ended the watch at once"});
  backoff_.reset();
  return {.next = Step::Next::kAsk};
}

void ListWatch::put(Update& update, const json::object& object) {
  auto key = key_of(object);
  if (!key || key->kind != kind_) return;  // nothing could be said about it, nor whom it would concern
  auto& place = *known_.try_emplace(*std::move(key)).first;
  put(update, place, number_of(resource_version_of(object)), decode(kind_, object));
}

void ListWatch::put(Update& update, Place& place, std::uint64_t revision, Result<Resource> resource) {
  if (resource) return put(update, place, revision, *std::move(resource));
  auto& [key, known] = place;
  known.revision = known_of_.empty() ? 0 : revision;
  known.unreadable = true;
  update.unreadable.update(key, resource.error().message);
}

void ListWatch::put(Update& update, Place& place, std::uint64_t revision, Resource&& resource) {
  auto& [key, known] = place;
  known.revision = known_of_.empty() ? 0 : revision;
  if (std::exchange(known.unreadable, false)) update.unreadable.remove(key);
  known.readable_once = true;
  update.resources.update(key, std::move(resource));
}

void ListWatch::forget(Update& update, const ResourceKey& key) {
  const auto known = known_.find(key);
  if (known == known_.end()) return;
  tell_gone(update, key, known->second);
  known_.erase(known);
}

void ListWatch::tell_gone(Update& update, const ResourceKey& key, const Known& known) {
  if (known.readable_once) update.resources.remove(key);
  if (known.unreadable) update.unreadable.remove(key);
}

void ListWatch::progress(Update& update, std::string_view resource_version) {
  if (resource_version.empty()) return;
  resource_version_ = resource_version;
  const Progress now{number_of(resource_version), store_};
  update.revisions[kind_] = now;
  advance(newest_, now);
}

ListWatch::Step ListWatch::try_again(const Error& error) {
  const auto pause = backoff_.next();
  return {.failure =
              fmt::format("{}: {}; trying again in {} ms", info(kind_).plural, error.message, pause.count()),
          .next = Step::Next::kAsk,
          .pause = pause};
}

}  // namespace ocicat::api
