#include "cni/service/service.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "base/whole_file.h"
#include "cni/configuration.h"
#include "cni/endpoint.h"
#include "cni/service/addition.h"
#include "cni/service/addresses.h"
#include "cni/service/inspection.h"
#include "cni/service/teardown.h"

namespace ocicat::cni {
namespace {

using Phase = Attachment::Phase;

// Between two tries to take back what could not be.
constexpr std::chrono::milliseconds kFirstPause{200}, kLongestPause{10'000};

}  // namespace

struct Service::State {
  State(Options options, const Parts& parts, std::unique_ptr<Journal> journal)
      : context{std::move(options), parts, std::move(journal), DocumentsPool(parts.documents), {}} {}

  Context context;
  std::mutex mutex;
  std::condition_variable woken;
  bool stopping = false;
  bool has_work = false;
  std::thread thread;

  // What nobody wants, as a dead agent or a call that found none left it.
  Result<void> take_over() {
    for (auto attachment : context.journal->all()) {
      // In another boot's kernel there are no interfaces of this one.
      if (attachment.phase == Phase::kAdded && attachment.boot == context.options.boot) continue;
      if (attachment.phase != Phase::kDeleting) TRY_VOID(context.journal->write_unwanted(attachment));
      has_work = true;
    }
    for (const auto& file : context.journal->left_behind()) TRY_VOID(take_over(file));
    return {};
  }

  Result<void> take_over(const std::filesystem::path& file) {
    const auto message = read_message(read_whole(file));
    const auto call = message ? call_of(*message) : Outcome<Call>(std::unexpected(message.error()));
    if (!call || call->command != Command::kDel || !call->may_have_been_added()) {
      spdlog::error("{} is no call to DEL, and is passed over", file.string());
      return {};
    }
    const auto called = attachment_of(*call, context.options.node);
    const auto known = context.journal->find(call->attachment());
    auto attachment = known.value_or(called);
    if (attachment.addresses_alone == called.addresses_alone &&
        !is_anothers(context, attachment, call->network)) {
      attachment.phase = Phase::kDeleting;
      // Of what nobody has noted only the call itself tells, where the disk is full: it may be on the disk, and is not
      // given up for memory. The host's other workloads need an agent.
      const auto noted =
          known ? context.journal->write_unwanted(attachment) : context.journal->write(attachment, true);
      if (!noted) {
        spdlog::error("{} is left to the agent's next start: {}; see: df", file.string(),
                      noted.error().message);
        return {};
      }
    }
    std::error_code failed;
    std::filesystem::remove(file, failed);
    if (failed) return fail(ErrorCode::kInternal, "remove {}: {}", file.string(), failed.message());
    has_work = true;
    return {};
  }

  void wake() {
    {
      const std::scoped_lock lock(mutex);
      has_work = true;
    }
    woken.notify_all();
  }

  // True: there is nothing left that nobody wants.
  bool sweep() {
    bool all = true;
    const auto documents = context.documents.lend();
    for (const auto& seen : context.journal->all()) {
      if (seen.phase != Phase::kDeleting) continue;
      const Turns::Turn turn(context.turns, seen.name());
      const Turns::Turn interface_turn(context.turns, seen.host_interface);
      const auto now = context.journal->find(seen.name());
      if (!now || now->phase != Phase::kDeleting) continue;
      const auto done = take_back(context.parts, *context.journal, *documents, *now, now->netns);
      if (done) {
        spdlog::info("took back what was left of {} in container {}", now->ifname, now->container_id);
      } else {
        all = false;
      }
    }
    return all;
  }

  // Interfaces that were made when packets could be larger, or had to be smaller.
  void follow_mtu() {
    const auto mtu = context.parts.enforcement->mtu();
    if (mtu == 0) return;
    for (const auto& seen : context.journal->all()) {
      if (seen.phase != Phase::kAdded || !seen.follows_mtu || seen.mtu == mtu_of(seen, mtu)) continue;
      const Turns::Turn turn(context.turns, seen.name());
      const Turns::Turn interface_turn(context.turns, seen.host_interface);
      auto now = context.journal->find(seen.name());
      if (!now || now->phase != Phase::kAdded) continue;
      const auto before = std::exchange(now->mtu, mtu_of(*now, mtu));
      auto done = context.parts.links->set_mtu(pair_of(*now, now->netns), before);
      if (done) done = context.journal->write(*now, false);
      if (!done) {
        spdlog::warn("{} keeps its MTU of {} and is told of {} packet by packet: {}", now->host_interface,
                     before, now->mtu, done.error().message);
      }
    }
  }

  // IPv6 ends on an interface that takes less than what it asks for (RFC 8200, section 5).
  static std::uint32_t mtu_of(const Attachment& attachment, std::uint32_t mtu) {
    constexpr std::uint32_t kLeastOfIpv6 = 1280;
    const bool ipv6 = !std::ranges::all_of(attachment.addresses, &IpAddress::is_v4);
    return ipv6 ? std::max(mtu, kLeastOfIpv6) : mtu;
  }

  void run() {
    auto pause = kFirstPause;
    std::unique_lock lock(mutex);
    while (!stopping) {
      woken.wait(lock, [this] { return has_work || stopping; });
      if (stopping) return;
      has_work = false;
      lock.unlock();
      follow_mtu();
      const bool all = sweep();
      lock.lock();
      if (all) {
        pause = kFirstPause;
        continue;
      }
      has_work = true;
      woken.wait_for(lock, pause, [this] { return stopping; });
      pause = std::min(2 * pause, kLongestPause);
    }
  }

  // Succeeds also where parts of it cannot be taken back now: they are noted, and tried again.
  Outcome<void> remove(const Call& call, const std::string& namespace_path) {
    if (!call.may_have_been_added()) return {};
    const Turns::Turn turn(context.turns, call.attachment());
    const auto called = attachment_of(call, context.options.node);
    auto attachment = context.journal->find(call.attachment()).value_or(called);
    // One role does not take back what the other made, nor does one network.
    if (attachment.addresses_alone != called.addresses_alone ||
        is_anothers(context, attachment, call.network))
      return {};
    return remove(std::move(attachment), namespace_path);
  }

  // `namespace_path`: as a plugin has it open; else it is looked for where the runtime had it at ADD.
  Outcome<void> remove(Attachment attachment, std::string namespace_path = {}) {
    if (namespace_path.empty()) namespace_path = attachment.netns;
    const Turns::Turn interface_turn(context.turns, attachment.host_interface);
    const auto name = attachment.name();
    const auto documents = context.documents.lend();
    const auto done =
        take_back(context.parts, *context.journal, *documents, std::move(attachment), namespace_path);
    if (done) return {};
    const auto noted = context.journal->find(name);
    if (!noted || noted->phase != Phase::kDeleting) {
      return refuse(FailureCode::kIo, "what is to be taken back cannot be noted",
                    done.error().message + "; see: df");
    }
    spdlog::warn("{}: taken back later: {}", name, done.error().message);
    wake();
    return {};
  }

  // Attachments of the network that this host's endpoints speak of and no note does, as where the notes were lost. That an
  // endpoint is of the network its handle says.
  Outcome<std::vector<Attachment>> unnoted(const std::string& network) {
    TRY_VOID(check_ready(context));
    const auto endpoints = context.parts.enforcement->endpoints();
    if (!endpoints) {
      return refuse(FailureCode::kTryAgainLater, "not everything could be looked at",
                    "the agent does not say which endpoints are here; see: ocicat status");
    }
    std::set<ResourceKey> noted;
    for (const auto& attachment : context.journal->all()) noted.insert(attachment.endpoint);
    const auto documents = context.documents.lend();
    const auto look = [&](const ResourceKey& key) -> Outcome<std::optional<boost::json::object>> {
      auto document = documents->get(key);
      if (document) return *std::move(document);
      if (document.error().code == ErrorCode::kNotFound) return std::nullopt;
      return std::unexpected(failure_of(document.error(), "the server does not answer"));
    };
    std::vector<Attachment> found;
    for (const auto& key : *endpoints) {
      if (key.kind != Kind::kWorkloadEndpoint || noted.contains(key)) continue;
      TRY(const auto document, look(key));
      const auto attachment = document ? attachment_of(key, *document, network) : std::nullopt;
      if (!attachment) continue;
      TRY(const auto handle, look(handle_key(attachment->handle)));
      if (handle) found.push_back(*attachment);
    }
    return found;
  }

  // Attachments of the network that the runtime does not know any more.
  Outcome<void> collect(const Call& call) {
    TRY(const auto valid, valid_attachments(call));
    std::vector<Failure> failures;
    for (const auto& seen : context.journal->all()) {
      if (seen.network != call.network || valid.contains(seen.name())) continue;
      if (seen.addresses_alone != (call.role == Role::kAddresses)) continue;
      const Turns::Turn turn(context.turns, seen.name());
      const auto now = context.journal->find(seen.name());
      // One that is being added now came after the runtime made its list.
      if (!now || *now != seen) continue;
      if (const auto done = remove(*now); !done) failures.push_back(done.error());
    }
    if (call.role == Role::kNetwork) {
      const auto others = unnoted(call.network);
      if (!others) failures.push_back(others.error());
      for (const auto& seen : others ? *others : std::vector<Attachment>{}) {
        if (valid.contains(seen.name())) continue;
        const Turns::Turn turn(context.turns, seen.name());
        if (context.journal->find(seen.name())) continue;
        if (const auto done = remove(seen); !done) failures.push_back(done.error());
      }
    }
    if (failures.empty()) return {};
    std::string details;
    for (const auto& failure : failures) details += (details.empty() ? "" : "; ") + failure.details;
    return refuse(failures.front().code, "not everything could be collected", std::move(details));
  }

  Outcome<std::string> carry_out_add(const Call& call, const std::string& namespace_path) {
    TRY(auto previous, chained_result(call));
    TRY(const auto added, add(context, call, namespace_path));
    if (const auto* attachment = std::get_if<Attachment>(&added))
      return boost::json::serialize(behind(std::move(previous), result_of(*attachment, call.version)));
    const auto& delegation = std::get<Delegation>(added);
    return boost::json::serialize(
        boost::json::object{{kDelegateKey, delegation.config}, {kAgainKey, delegation.again}});
  }

  Outcome<std::string> carry_out(const Message& message) {
    TRY(const auto call, call_of(message));
    const bool alone = call.role == Role::kAddresses;
    switch (call.command) {
      case Command::kAdd: {
        if (!alone) return carry_out_add(call, message.namespace_path);
        TRY(const auto attachment, add_addresses(context, call));
        return boost::json::serialize(result_of(attachment, call.version));
      }
      case Command::kDel:
        TRY_VOID(remove(call, message.namespace_path));
        return std::string();
      case Command::kCheck:
        TRY_VOID(alone ? check_addresses(context, call) : check(context, call, message.namespace_path));
        return std::string();
      case Command::kStatus:
        TRY_VOID(status(context, call));
        return std::string();
      case Command::kGc:
        TRY_VOID(collect(call));
        return std::string();
      case Command::kVersion:
        break;
    }
    return refuse(FailureCode::kInvalidEnvironment, "the agent is not asked for versions",
                  "ocicat-cni answers by itself; install the plugin and the agent from one version; see: "
                  "ocicat --version");
  }
};

Service::Service(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<Service>> Service::start(Options options, const Parts& parts) {
  std::vector<std::string> unreadable;
  TRY(auto journal, Journal::open(options.folder, unreadable));
  for (const auto& file : unreadable)
    spdlog::error("{}: is left as it is; what it stands for may be leaked: see `ocicat ipam check`", file);
  auto state = std::make_unique<State>(std::move(options), parts, std::move(journal));
  TRY_VOID(state->take_over());
  state->has_work = true;  // the MTU may have become another while no agent ran
  state->context.parts.enforcement->on_mtu([running = state.get()] { running->wake(); });
  state->thread = std::thread([running = state.get()] { running->run(); });
  return std::unique_ptr<Service>(new Service(std::move(state)));
}

Service::~Service() {
  state_->context.parts.enforcement->on_mtu({});
  {
    const std::scoped_lock lock(state_->mutex);
    state_->stopping = true;
  }
  state_->woken.notify_all();
  state_->thread.join();
}

Reply Service::answer(std::string_view text) {
  const auto message = read_message(text);
  std::string version;
  auto done = [&]() -> Outcome<std::string> {
    if (!message) return std::unexpected(message.error());
    if (const auto* given = message->config.if_contains("cniVersion"); given != nullptr && given->is_string())
      version = given->get_string();
    return state_->carry_out(*message);
  }();
  // An ADD that failed may have left something.
  if (!done) state_->wake();
  if (done) return {true, *std::move(done)};
  spdlog::warn("{} {}: {}: {}", message ? message->environment.command : "a call",
               message ? message->environment.container_id : "", done.error().message, done.error().details);
  return {false, to_json(done.error(), version)};
}

std::size_t Service::unwanted() const {
  std::size_t count = 0;
  for (const auto& attachment : state_->context.journal->all()) count += attachment.phase == Phase::kDeleting;
  return count;
}

std::string this_boot() {
  auto text = read_whole("/proc/sys/kernel/random/boot_id");
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace ocicat::cni
