#include "api/client/informer.h"

#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

#include "api/client/follower.h"
#include "api/client/heard.h"
#include "base/thread_name.h"
#include "http/loop.h"

namespace ocicat::api {

void Update::absorb(Update later) {
  resources.absorb(std::move(later.resources));
  unreadable.absorb(std::move(later.unreadable));
  for (const auto& [kind, revision] : later.revisions) revisions.insert_or_assign(kind, revision);
  in_sync = in_sync || later.in_sync;
}

namespace {

// What a life that ends without a word may have heard and not kept.
constexpr std::chrono::seconds kKeepAfter{5};

}  // namespace

struct Informers::State {
  explicit State(std::string heard_file) : heard(std::move(heard_file)) {}

  std::function<void(Update)> on_update;
  http::Loop loop;
  std::vector<std::unique_ptr<Follower>> followers;
  std::thread thread;

  // On the loop's thread.
  bool in_sync = false;
  Heard heard;
  std::unique_ptr<http::Loop::Timer> timer;  // after which it is kept
  bool keeps_soon = false;

  mutable std::mutex mutex;
  std::map<Kind, std::optional<std::string>>
      states;  // of each kind: what fails, or nothing; none before the first answer
  std::size_t kinds = 0;
  std::string address_error;

  void deliver(Update update) {
    in_sync =
        in_sync || std::ranges::all_of(followers, [](const auto& follower) { return follower->listed(); });
    update.in_sync = in_sync;
    const Revisions revisions = update.revisions;
    on_update(std::move(update));
    if (heard.learn(revisions) && !std::exchange(keeps_soon, true))
      timer = loop.after(kKeepAfter, [this] { keep(); });
  }

  void keep() {
    keeps_soon = false;
    heard.keep();
  }

  void note(Kind kind, std::optional<std::string> failure) {
    const std::scoped_lock lock(mutex);
    states[kind] = std::move(failure);
  }
};

Informers::Informers(const Address& address, const std::vector<Kind>& kinds,
                     std::function<void(Update)> on_update, std::string heard_file)
    : state_(std::make_unique<State>(std::move(heard_file))) {
  state_->on_update = std::move(on_update);
  state_->kinds = kinds.size();
  const auto endpoint = http::Endpoint::parse(address.text);
  if (!endpoint) {
    state_->address_error = endpoint.error().message;
    return;
  }
  for (const Kind kind : kinds) {
    Follower::Callbacks callbacks;
    callbacks.on_update = [state = state_.get()](Update update) { state->deliver(std::move(update)); };
    callbacks.on_state = [state = state_.get(), kind](std::optional<std::string> failure) {
      state->note(kind, std::move(failure));
    };
    state_->followers.push_back(std::make_unique<Follower>(state_->loop, *endpoint, kind,
                                                           state_->heard.of(kind), std::move(callbacks)));
  }
  state_->loop.post([state = state_.get()] {
    for (const auto& follower : state->followers) follower->start();
  });
  state_->thread = std::thread([&loop = state_->loop] {
    name_thread("informers");
    loop.run();
  });
}

Informers::~Informers() {
  state_->loop.stop();
  if (state_->thread.joinable()) state_->thread.join();
  state_->heard.keep();
  state_->followers.clear();
}

InformerStatus Informers::status() const {
  const std::scoped_lock lock(state_->mutex);
  InformerStatus status;
  status.last_error = state_->address_error;
  std::size_t connected = 0;
  for (const auto& [kind, failure] : state_->states) {
    if (!failure) {
      ++connected;
    } else if (status.last_error.empty()) {
      status.last_error = *failure;
    }
  }
  status.connected = status.last_error.empty() && connected == state_->kinds;
  return status;
}

}  // namespace ocicat::api
