#include "sim/connection.h"

#include <algorithm>
#include <utility>

#include "api/client/wire.h"
#include "resources/decode.h"

namespace ocicat::test {
namespace {

constexpr std::size_t kRemembered = 6;  // lines that may come again

const Error kLost{ErrorCode::kUnavailable, "connection reset by simulation"};

// Of one line of a watch; nothing where it is about no object, as a bookmark is.
std::optional<ResourceKey> subject_of(std::string_view line) {
  const auto event = api::parse_event(line);
  if (!event) return std::nullopt;
  auto key = key_of(event->object);
  return key ? std::optional(*std::move(key)) : std::nullopt;
}

}  // namespace

void Connection::fill() {
  while (stream_ && !stream_ended_) {
    auto piece = stream_->next();
    if (!piece) {
      stream_ended_ = true;
    } else if (piece->empty()) {
      return;
    } else {
      coming_ += *piece;
    }
  }
}

api::Update Connection::take(api::ListWatch::Step step, Time now) {
  using Next = api::ListWatch::Step::Next;
  if (step.next != Next::kListen) {
    asked_ = false;
    due_ = now + step.pause;
    stream_.reset();
    coming_.clear();
    begun_.clear();
    lines_.clear();
  }
  return std::move(step.update);
}

api::Update Connection::cut(Time now) {
  if (!asked_) return {};
  return take(reading_.end(std::unexpected(kLost), now), now);
}

api::Update Connection::ask(SimulatedServer& server, Time now) {
  auto response = server.answer({"GET", reading_.ask(now), {}, {}});
  CHECK(response);
  asked_ = true;
  coming_ = std::move(response->body);
  stream_ = std::move(response->stream);
  stream_ended_ = false;
  if (!stream_) stream_ended_ = true;
  if (stream_) stream_->on_more([] {});
  auto update = take(reading_.head(response->status, http::find(response->headers, "ocicat-store")), now);
  return update;
}

// A part of what is coming: whole lines, or cut anywhere.
std::string Connection::draw_piece(Random& random) {
  auto size = coming_.size();
  if (random.percent(40)) {
    size = 1 + random.below(coming_.size());
  } else if (stream_ && random.percent(60)) {
    size = std::min(coming_.find('\n'), coming_.size() - 1) + 1;
  }
  auto piece = coming_.substr(0, size);
  coming_.erase(0, size);
  return piece;
}

// The last lines again, in their order: as if a watch had begun a little too early.
std::string Connection::draw_echo(Random& random) {
  std::string again;
  for (auto i = random.below(lines_.size()); i < lines_.size(); ++i) again += lines_[i];
  return again;
}

// Two lines about two objects, the second one first; nothing where there are none.
std::string Connection::draw_swapped() {
  const auto first = coming_.find('\n');
  const auto second = first == std::string::npos ? first : coming_.find('\n', first + 1);
  if (second == std::string::npos) return {};
  const auto one = coming_.substr(0, first + 1);
  const auto other = coming_.substr(first + 1, second - first);
  const auto about_one = subject_of(one), about_other = subject_of(other);
  if (!about_one || !about_other || *about_one == *about_other) return {};
  coming_.erase(0, second + 1);
  return other + one;
}

void Connection::note_lines(std::string_view piece) {
  begun_ += piece;
  for (auto end = begun_.find('\n'); end != std::string::npos; end = begun_.find('\n')) {
    lines_.push_back(begun_.substr(0, end + 1));
    begun_.erase(0, end + 1);
    if (lines_.size() > kRemembered) lines_.pop_front();
  }
}

api::Update Connection::listen(Time now, Random& random, const Weather& weather, std::string& log) {
  if (coming_.empty() && stream_ended_) {
    log = "the answer ends";
    return take(reading_.end({}, now), now);
  }
  const bool watching = stream_ != nullptr;
  std::string piece;
  if (watching && begun_.empty() && random.percent(weather.echo)) {
    if (!lines_.empty() && random.percent(50)) {
      piece = draw_echo(random);
      log = fmt::format("{} bytes again", piece.size());
      return take(reading_.data(piece), now);
    }
    piece = draw_swapped();
    if (!piece.empty()) log = fmt::format("two lines, the later one first ({} bytes)", piece.size());
  }
  if (piece.empty()) {
    if (coming_.empty()) return {};
    piece = draw_piece(random);
    log = fmt::format("{} bytes", piece.size());
  }
  if (watching) note_lines(piece);
  return take(reading_.data(piece), now);
}

std::optional<api::Update> Connection::happen(SimulatedServer& server, Time now, Random& random,
                                              const Weather& weather, std::string& log) {
  const bool trouble = random.percent(weather.trouble);
  if (!asked_) {
    if (due_ > now) return std::nullopt;
    if (!trouble) {
      log = "asks";
      return ask(server, now);
    }
    static_cast<void>(reading_.ask(now));
    log = "asks, and is refused";
    switch (random.below(3)) {
      case 0:
        return take(reading_.end(std::unexpected(kLost), now), now);
      case 1:
        static_cast<void>(reading_.head(503, ""));
        static_cast<void>(reading_.data("overloaded"));
        return take(reading_.end({}, now), now);
      default:
        static_cast<void>(reading_.head(410, ""));
        return take(reading_.end({}, now), now);
    }
  }
  fill();
  if (trouble) {
    log = "loses the answer";
    if (stream_ && begun_.empty() && random.percent(30)) {
      log = "hears nonsense";
      return take(reading_.data("{\"type\":\"ADDED\",\"obj\n"), now);
    }
    if (stream_ && random.percent(30)) return take(reading_.end({}, now), now);  // the server ends the watch
    return cut(now);
  }
  if (coming_.empty() && !stream_ended_ && !(weather.echo > 0 && !lines_.empty())) return std::nullopt;
  return listen(now, random, weather, log);
}

}  // namespace ocicat::test
