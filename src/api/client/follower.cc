#include "api/client/follower.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "resources/decode.h"

namespace ocicat::api {

namespace json = boost::json;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kFirstPause{10};
constexpr milliseconds kLongestPause{5'000};
// The server ends a watch after this time, and it begins anew; nothing at all for a while longer means that
// the other side is gone without a word.
constexpr std::chrono::seconds kWatchTime{300};
constexpr std::chrono::seconds kShortestWatch{1};
constexpr http::Timeouts kTimeouts{.connect = milliseconds(5'000),
                                   .head = milliseconds(60'000),
                                   .data = kWatchTime + std::chrono::seconds(60)};

std::uint64_t number_of(std::string_view resource_version) {
  std::uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(resource_version.data(), resource_version.data() + resource_version.size(), number);
  return error == std::errc() && end == resource_version.data() + resource_version.size() ? number : 0;
}

http::Request get(std::string target) {
  return {"GET", std::move(target), {{"Accept", "application/json"}}, {}};
}

}  // namespace

milliseconds Backoff::next() {
  const auto whole =
      std::min<std::int64_t>(kLongestPause.count(), kFirstPause.count() << std::min(failures_, 16));
  ++failures_;
  return milliseconds(std::uniform_int_distribution<std::int64_t>(whole / 2, whole)(random_));
}

Follower::Follower(http::Loop& loop, http::Endpoint endpoint, Kind kind, Callbacks callbacks)
    : loop_(loop),
      endpoint_(std::move(endpoint)),
      kind_(kind),
      callbacks_(std::move(callbacks)),
      connection_(std::make_unique<http::Connection>(loop, endpoint_, kTimeouts)) {}

void Follower::start() {
  status_ = 0;
  answering_store_.clear();
  body_.clear();
  lines_ = {};
  broken_.reset();
  began_ = std::chrono::steady_clock::now();
  resource_version_.empty() ? list() : watch();
}

void Follower::list() {
  http::Callbacks callbacks;
  callbacks.on_head = [this](int status, const http::Headers& headers) {
    status_ = status;
    answering_store_ = http::find(headers, "ocicat-store");
  };
  callbacks.on_data = [this](std::string_view data) { body_ += data; };
  callbacks.on_end = [this](Result<void> result) { on_list_end(std::move(result)); };
  connection_->send(get(path_of(kind_, std::nullopt)), std::move(callbacks));
}

void Follower::on_list_end(Result<void> result) {
  if (!result) return try_again(result.error());
  if (status_ != 200) return try_again(error_of(status_, body_));
  auto list = parse_list(kind_, body_);
  if (!list) return try_again(list.error());
  std::string().swap(body_);

  Update update;
  std::set<ResourceKey> present;
  for (auto& object : list->items) {
    if (auto key = key_of(object)) present.insert(*std::move(key));
    put(update, std::move(object));
  }
  std::vector<ResourceKey> gone;
  for (const auto& [key, known] : known_) {
    if (!present.contains(key)) gone.push_back(key);
  }
  for (const auto& key : gone) forget(update, key);
  progress(update, list->resource_version);
  store_ = answering_store_;
  listed_ = true;
  deliver(std::move(update));
  start();
}

void Follower::watch() {
  http::Callbacks callbacks;
  callbacks.on_head = [this](int status, const http::Headers& headers) {
    status_ = status;
    answering_store_ = http::find(headers, "ocicat-store");
    if (status != 200) return;
    if (answering_store_ != store_) {
      broken_ = Error{ErrorCode::kExpired, "the server now serves other data"};
      return drop_watch();
    }
    callbacks_.on_state(std::nullopt);
  };
  callbacks.on_data = [this](std::string_view data) {
    if (status_ != 200) {
      body_ += data;
      return;
    }
    auto fed = lines_.feed(data, [this](std::string_view line) { return take_line(line); });
    if (!fed) broken_ = fed.error();
    deliver(std::exchange(pending_, {}));
    if (broken_) drop_watch();
  };
  callbacks.on_end = [this](Result<void> result) { on_watch_end(std::move(result)); };
  connection_->send(
      get(fmt::format("{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}",
                      path_of(kind_, std::nullopt), kWatchTime.count(),
                      http::percent_encode(resource_version_))),
      std::move(callbacks));
}

void Follower::drop_watch() {
  connection_ = std::make_unique<http::Connection>(loop_, endpoint_, kTimeouts);
  on_watch_end({});
}

bool Follower::take_line(std::string_view line) {
  auto event = parse_event(line);
  if (!event) {
    broken_ = event.error();
    return false;
  }
  const std::string version(resource_version_of(event->object));
  switch (event->type) {
    case Client::EventType::kAdded:
    case Client::EventType::kModified:
      put(pending_, std::move(event->object));
      break;
    case Client::EventType::kDeleted:
      if (const auto key = key_of(event->object)) forget(pending_, *key);
      break;
    case Client::EventType::kBookmark:
      break;
  }
  progress(pending_, version);
  backoff_.reset();
  return true;
}

void Follower::on_watch_end(Result<void> result) {
  if (!broken_ && status_ != 200 && status_ != 0) broken_ = error_of(status_, body_);
  // Of other data or too far behind: list anew, and tell what vanished meanwhile.
  if (broken_ && broken_->code == ErrorCode::kExpired) resource_version_.clear();
  if (broken_) return try_again(*broken_);
  if (!result) return try_again(result.error());
  // The usual end of a watch; but a server that ends each one at once is not asked again at once.
  if (std::chrono::steady_clock::now() - began_ < kShortestWatch) {
    return try_again({ErrorCode::kUnavailable, "the server ended the watch at once"});
  }
  backoff_.reset();
  start();
}

void Follower::put(Update& update, json::object object) {
  auto key = key_of(object);
  if (!key || key->kind != kind_) return;  // nothing could be said about it, nor whom it would concern
  auto& known = known_[*key];
  auto resource = decode(kind_, object);
  if (!resource) {
    known.unreadable = true;
    update.unreadable.update(*key, resource.error().message);
    return;
  }
  if (std::exchange(known.unreadable, false)) update.unreadable.remove(*key);
  known.readable_once = true;
  update.resources.update(*std::move(key), *std::move(resource));
}

void Follower::forget(Update& update, const ResourceKey& key) {
  const auto known = known_.find(key);
  if (known == known_.end()) return;
  if (known->second.readable_once) update.resources.remove(key);
  if (known->second.unreadable) update.unreadable.remove(key);
  known_.erase(known);
}

void Follower::progress(Update& update, std::string_view resource_version) {
  if (resource_version.empty()) return;
  resource_version_ = resource_version;
  update.revisions[kind_] = number_of(resource_version);
}

void Follower::deliver(Update update) {
  if (!update.revisions.empty()) callbacks_.on_update(std::move(update));
}

void Follower::try_again(const Error& error) {
  const auto pause = backoff_.next();
  callbacks_.on_state(
      fmt::format("{}: {}; trying again in {} ms", info(kind_).plural, error.message, pause.count()));
  timer_ = loop_.after(pause, [this] { start(); });
}

}  // namespace ocicat::api
