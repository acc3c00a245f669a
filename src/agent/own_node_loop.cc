#include "agent/own_node_loop.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "agent/own_node.h"
#include "base/mailbox.h"
#include "base/thread_name.h"
#include "ipam/api_documents.h"
#include "kernel/host_addresses.h"

namespace ocicat::agent {
namespace {

using Pause = std::chrono::milliseconds;

constexpr Pause kFirstRetry{100}, kLastRetry{10'000};
constexpr int kFewConflicts = 10;

// That there is something to look at.
struct Look {
  void absorb(Look /*later*/) {}
};

}  // namespace

struct OwnNodeLoop::State {
  State(std::string name, const api::Address& server, std::function<void(std::string)> on_trouble)
      : node(std::move(name)), documents(server), tell(std::move(on_trouble)) {}

  void run() {
    name_thread("own-node");
    OwnNode own(node, documents, kernel::main_address);
    auto pause = OwnNode::kNextLook;
    auto retry = kFirstRetry;
    int conflicts = 0;  // one after the other
    while (true) {
      std::ignore = mailbox.take_within(pause);
      if (mailbox.closed()) return;
      const auto settled = own.settle();
      pause = settled ? *settled : retry;
      retry = settled ? kFirstRetry : std::min(2 * retry, kLastRetry);
      conflicts = !settled && settled.error().code == ErrorCode::kConflict ? conflicts + 1 : 0;
      // Who changes the Node at the same moment is no trouble, but who does so all the time is.
      if (conflicts == 0 || conflicts > kFewConflicts) say(settled ? std::string() : settled.error().message);
    }
  }

  void say(std::string now) {
    if (now == trouble) return;
    if (now.empty()) {
      spdlog::info("Node {}: as it should be again", node);
    } else {
      spdlog::warn("Node {}: {}", node, now);
    }
    trouble = now;
    tell(std::move(now));
  }

  const std::string node;
  ipam::ApiDocuments documents;
  std::function<void(std::string)> tell;
  Mailbox<Look> mailbox;
  std::string trouble;
  std::atomic<bool> in_sync = false;
  std::thread thread;
};

OwnNodeLoop::OwnNodeLoop(std::string node, const api::Address& server, std::function<void(std::string)> tell)
    : state_(std::make_unique<State>(std::move(node), server, std::move(tell))) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

OwnNodeLoop::~OwnNodeLoop() {
  state_->mailbox.close();
  state_->thread.join();
}

void OwnNodeLoop::learn(const api::Update& update) {
  const auto concerns = [&](const auto& entry) {
    const auto& key = entry.first;
    return key.kind == Kind::kIpPool || (key.kind == Kind::kNode && key.name == state_->node);
  };
  const bool begins = update.in_sync && !state_->in_sync.exchange(true);
  if (begins || (state_->in_sync && std::ranges::any_of(update.resources.entries(), concerns)))
    state_->mailbox.put({});
}

}  // namespace ocicat::agent
