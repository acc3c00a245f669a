#include "api/server/reader.h"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <deque>

#include "api/server/stored_text.h"

namespace ocicat::api {

namespace json = boost::json;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::size_t kPieceBytes = 64 * 1024;    // about how much of a stream is made at a time
constexpr std::size_t kWholeBytes = 1024 * 1024;  // lists up to here are sent whole
constexpr std::size_t kEventsAtATime = 16;

class ListStream final : public http::Stream {
 public:
  ListStream(std::string head, std::vector<store::Entry> entries)
      : head_(std::move(head)), entries_(std::move(entries)) {}

  std::optional<std::string> next() override {
    if (ended_) return std::nullopt;
    std::string piece = std::exchange(head_, {});
    for (; at_ < entries_.size() && piece.size() < kPieceBytes; ++at_) {
      expect();
      if (at_ > 0) piece += ',';
      append_object(piece, *entries_[at_].document, entries_[at_].revision);
      entries_[at_].document.reset();
    }
    if (at_ == entries_.size()) {
      piece += "]}\n";
      ended_ = true;
    }
    return piece;
  }

  void on_more(std::function<void()>) override {}  // there is always more, until the end

 private:
  // Documents lie in no cache, and lead from their string to their text: asks for those that come soon.
  void expect() const {
    constexpr std::size_t kAhead = 8, kLine = 64, kFirstBytes = 256;
    if (at_ + 2 * kAhead < entries_.size()) __builtin_prefetch(entries_[at_ + 2 * kAhead].document.get());
    if (at_ + kAhead >= entries_.size()) return;
    const auto& text = *entries_[at_ + kAhead].document;
    for (std::size_t at = 0; at < std::min(text.size(), kFirstBytes); at += kLine)
      __builtin_prefetch(&text[at]);
  }

  std::string head_;
  std::vector<store::Entry> entries_;
  std::size_t at_ = 0;
  bool ended_ = false;
};

class WatchStream final : public http::Stream {
 public:
  WatchStream(WatchRequest request, std::unique_ptr<store::Watch> watch, std::vector<store::Entry> initial,
              store::Revision revision, std::function<Clock::time_point()> now)
      : request_(std::move(request)),
        now_(std::move(now)),
        initial_(std::make_move_iterator(initial.begin()), std::make_move_iterator(initial.end())),
        watch_(std::move(watch)),
        sent_revision_(revision),
        bookmark_at_(now_() + request_.bookmark_pause) {
    if (request_.timeout) ends_at_ = now_() + *request_.timeout;
  }

  void on_more(std::function<void()> wake) override { watch_->on_more(std::move(wake)); }

  std::optional<std::string> next() override {
    std::string piece;
    const auto now = now_();
    if (ended_ || (ends_at_ && now >= *ends_at_)) return std::nullopt;
    for (; !initial_.empty() && piece.size() < kPieceBytes; initial_.pop_front())
      append(piece, "ADDED", initial_.front(), initial_.front().revision);
    while (initial_.empty() && piece.size() < kPieceBytes) {
      auto batch = watch_->next(kEventsAtATime);
      if (!batch) {
        append_error(piece, batch.error());
        ended_ = true;
        return piece;
      }
      seen_revision_ = batch->revision;
      for (const auto& event : batch->events) append(piece, *event);
      if (batch->events.empty()) break;
    }
    if (request_.bookmarks && initial_.empty() && now >= bookmark_at_) append_bookmark(piece);
    return piece;
  }

  std::optional<Clock::time_point> wake_at() override {
    if (!request_.bookmarks) return ends_at_;
    return ends_at_ ? std::min(*ends_at_, bookmark_at_) : bookmark_at_;
  }

 private:
  void append(std::string& out, std::string_view type, const store::Entry& entry, store::Revision revision) {
    out += R"({"type":")";
    out += type;
    out += R"(","object":)";
    append_object(out, *entry.document, revision);
    out += "}\n";
    sent_revision_ = revision;
  }

  // As Kubernetes has it: an object that comes into the selection is ADDED, one that leaves it DELETED.
  void append(std::string& out, const store::Event& event) {
    const auto& entry = event.entry;
    if (!request_.selection.fields.matches(entry.key)) return;
    const auto& labels = request_.selection.labels;
    const bool is_in = event.type != store::EventType::kDeleted && labels.matches(*entry.document);
    bool was_in = event.type != store::EventType::kCreated;
    if (event.type == store::EventType::kDeleted) was_in = labels.matches(*entry.document);
    // What was there before may have been forgotten: then the reader hears of a deletion that may not concern
    // it.
    if (event.type == store::EventType::kUpdated && event.previous) was_in = labels.matches(*event.previous);
    if (!is_in && !was_in) return;
    append(out, !is_in ? "DELETED" : was_in ? "MODIFIED" : "ADDED", entry, entry.revision);
  }

  void append_bookmark(std::string& out) {
    bookmark_at_ = now_() + request_.bookmark_pause;
    if (seen_revision_ <= sent_revision_) return;
    const auto& known = info(request_.kind);
    out += fmt::format(
        R"({{"type":"BOOKMARK","object":{{"apiVersion":"{}","kind":"{}","metadata":{{"resourceVersion":"{}"}}}}}})",
        known.api_version(), known.name, seen_revision_);
    out += '\n';
    sent_revision_ = seen_revision_;
  }

  static void append_error(std::string& out, const Error& error) {
    out += json::serialize(json::object{{"type", "ERROR"}, {"object", to_status(failure_of(error, {}))}});
    out += '\n';
  }

  WatchRequest request_;
  const std::function<Clock::time_point()> now_;
  std::deque<store::Entry> initial_;
  std::unique_ptr<store::Watch> watch_;
  store::Revision seen_revision_ = 0;
  store::Revision sent_revision_;
  Clock::time_point bookmark_at_;
  std::optional<Clock::time_point> ends_at_;
  bool ended_ = false;
};

}  // namespace

http::Response list_response(Kind kind, store::Listing listing, const Selection& selection) {
  std::erase_if(listing.entries, [&](const store::Entry& entry) { return !selection.matches(entry); });
  auto head =
      fmt::format(R"({{"kind":"{}List","apiVersion":"{}","metadata":{{"resourceVersion":"{}"}},"items":[)",
                  info(kind).name, info(kind).api_version(), listing.revision);
  std::size_t bytes = 0;
  for (auto at = listing.entries.begin(); at != listing.entries.end() && bytes <= kWholeBytes; ++at)
    bytes += at->document->size();

  http::Response response;
  response.content_type = "application/json";
  auto stream = std::make_shared<ListStream>(std::move(head), std::move(listing.entries));
  if (bytes > kWholeBytes) {
    response.stream = std::move(stream);
    return response;
  }
  while (auto piece = stream->next()) response.body += *piece;
  return response;
}

Answer<std::shared_ptr<http::Stream>> watch_stream(store::Store& store, WatchRequest request,
                                                   std::function<Clock::time_point()> now) {
  store::Listing listing;
  if (request.after == 0) {
    listing = store.list(request.kind, request.ns);
    request.after = listing.revision;
    std::erase_if(listing.entries,
                  [&](const store::Entry& entry) { return !request.selection.matches(entry); });
  } else if (!request.incarnation.empty()) {
    const auto known = store.check_past(request.incarnation, request.after);
    if (!known) return std::unexpected(failure_of(known.error(), {request.kind, "", ""}));
  }
  auto watch = store.watch(request.kind, request.ns, request.after);
  if (!watch) return std::unexpected(failure_of(watch.error(), {request.kind, "", ""}));
  const auto revision = request.after;
  return std::make_shared<WatchStream>(std::move(request), *std::move(watch), std::move(listing.entries),
                                       revision, std::move(now));
}

}  // namespace ocicat::api
