#include "cni/plugin/plugin.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <tuple>

#include "base/whole_file.h"
#include "cni/delegation.h"
#include "cni/places.h"
#include "cni/plugin/address_plugin.h"
#include "cni/plugin/agent_client.h"
#include "cni/plugin/own_namespace.h"

namespace ocicat::cni {
namespace {

namespace json = boost::json;

Answer failed(const Failure& failure, std::string_view version) {
  return {1, to_json(failure, version)};
}

Answer versions(const json::object& config) {
  json::array supported;
  for (const auto version : kVersions) supported.emplace_back(to_string(version));
  const auto* asked = config.if_contains("cniVersion");
  return {
      0,
      json::serialize(json::object{
          {"cniVersion", asked != nullptr ? *asked : json::value(json::string(to_string(kVersions.back())))},
          {"supportedVersions", std::move(supported)}})};
}

// What a plugin that is asked for addresses is told stands under `ipam`.
std::string folder_of(const Call& call) {
  const auto* config = &call.config;
  if (call.role == Role::kAddresses) {
    const auto* ipam = config->if_contains("ipam");
    if (ipam == nullptr || !ipam->is_object()) return std::string(kFolder);
    config = &ipam->get_object();
  }
  const auto* value = config->if_contains(kFolderKey);
  if (value == nullptr || !value->is_string() || value->get_string().empty()) return std::string(kFolder);
  return std::string(value->get_string());
}

// What the agent left unanswered.
Failure away(Command command, const Error& error) {
  const auto code = command == Command::kStatus ? FailureCode::kNotAvailable : FailureCode::kTryAgainLater;
  return {code, "the agent of this host does not answer",
          error.message + "; see: systemctl status ocicat-agent, or ocicat status"};
}

// With those that it is in, which are gone as well where all of an agent was taken away.
Result<void> make_folder(const std::string& path) {
  for (auto end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const auto part = path.substr(0, end);
    if (::mkdir(part.c_str(), end == std::string::npos ? 0700 : 0755) != 0 && errno != EEXIST)
      return fail_errno(fmt::format("make {}", part), errno);
    if (end == std::string::npos) return {};
  }
}

std::string call_file(const std::string& folder, const Call& call) {
  return fmt::format("{}/{}/{}{}", folder, kDeletes, call.attachment(), kNoted);
}

Result<void> note(const std::string& folder, const Call& call, std::string_view message) {
  TRY_VOID(make_folder(folder));
  TRY_VOID(make_folder(fmt::format("{}/{}", folder, kDeletes)));
  return write_whole(call_file(folder, call), message, true);
}

std::string attachment_file(const std::string& folder, const Call& call, std::string_view ending) {
  return fmt::format("{}/{}/{}{}", folder, kAttachments, call.attachment(), ending);
}

// That takes no room on a disk. One that an earlier call has marked is so.
bool mark_unwanted(const std::string& folder, const Call& call) {
  const auto file = attachment_file(folder, call, kNoted), marked = attachment_file(folder, call, kUnwanted);
  const bool is_new = std::rename(file.c_str(), marked.c_str()) == 0;
  if (!is_new && (errno != ENOENT || ::access(marked.c_str(), F_OK) != 0)) return false;
  const UniqueFd attachments(
      ::open(fmt::format("{}/{}", folder, kAttachments).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return attachments && ::fsync(attachments.get()) == 0;
}

// Where the call cannot be written its attachment gets another name, if the agent need not ask any more whose it is; or the
// call is written on memory.
Result<void> note_anywhere(const std::string& folder, const Call& call, std::string_view message,
                           bool is_own) {
  const auto noted = note(folder, call, message);
  if (noted || (is_own && mark_unwanted(folder, call))) return {};
  const auto on_memory = note(memory_of(folder).string(), call, message);
  if (on_memory) return {};
  return fail(noted.error().code, "{}, and {}", noted.error().message, on_memory.error().message);
}

// Of which network's ADD the attachment is, as the agent has noted it before it made anything (to_json of an
// Attachment; older ones name none). Nothing: it has noted no such attachment. read_attachment() is not for the
// plugin, which starts with each call: all kinds of documents would come along.
std::optional<std::string> noted_network(const std::string& folder, const Call& call) {
  auto note = read_whole(attachment_file(folder, call, kNoted));
  if (note.empty()) note = read_whole(attachment_file(folder, call, kUnwanted));
  boost::system::error_code error;
  const auto value = json::parse(note, error);
  const auto* object = error ? nullptr : value.if_object();
  if (object == nullptr) return std::nullopt;
  const auto* network = object->if_contains("network");
  return network != nullptr && network->is_string() ? std::string(network->get_string()) : std::string();
}

// DEL without an agent. The agent reads what is noted once it listens, so one that began in between either
// sees the note, or answers the second request; what it answers then counts, as it does not look for notes again.
Answer delete_without_agent(const Call& call, const std::string& folder, const std::string& message) {
  const auto version = to_string(call.version);
  // Whoever wired the container takes that back.
  const bool wired = call.role == Role::kNetwork;
  const auto network_namespace = open_namespace(wired ? call.netns : std::string());
  const auto noted_as = noted_network(folder, call);
  // Another network's stays. Of a container that has ended the agent finds out whether anything is left.
  const bool anothers = noted_as && !noted_as->empty() && *noted_as != call.network;
  if (anothers && (network_namespace || !wired)) return {};
  const auto noted = note_anywhere(folder, call, message, noted_as && !anothers);
  if (!noted) {
    return failed({FailureCode::kIo, "DEL finds no agent, and cannot be noted for it",
                   noted.error().message + "; see: df"},
                  version);
  }
  if (const auto answer = ask_agent(fmt::format("{}/{}", folder, kSocket), message)) {
    for (const auto& place : {folder, memory_of(folder).string()}) ::unlink(call_file(place, call).c_str());
    return {answer->done ? 0 : 1, answer->text};
  }
  // Gone, and the interface with it; or one of that name would be somebody else's. Where the kernel keeps it here the
  // agent takes it away by its other end, as it is noted.
  if (network_namespace && noted_as) std::ignore = remove_interface(*network_namespace, call.ifname);
  return {};
}

// The call as the agent is told of it. The container's network namespace stays open until it has answered: it finds it
// here.
struct Outgoing {
  Message message;
  UniqueFd network_namespace;
};

Outcome<Outgoing> outgoing_of(const Call& call) {
  Outgoing going{{.environment = environment_of(call), .config = call.config, .namespace_path = {}}, {}};
  const bool deletes = call.command == Command::kDel;
  const bool enters = deletes || call.command == Command::kAdd || call.command == Command::kCheck;
  if (!enters || call.role != Role::kNetwork) return going;
  auto opened = open_namespace(call.netns);
  if (!opened && !deletes && opened.error().code == ErrorCode::kInvalid) {
    return refuse(
        FailureCode::kInvalidEnvironment, "the environment of the call is wrong",
        fmt::format("CNI_NETNS: {}; a container runtime sets this; see: journalctl -u containerd -u crio",
                    opened.error().message));
  }
  if (!opened && !deletes) {
    return refuse(FailureCode::kUnknownContainer, "the container's network namespace is not there",
                  opened.error().message + "; has the container ended? See: ip netns");
  }
  if (opened) {
    going.network_namespace = *std::move(opened);
    going.message.namespace_path = fmt::format("/proc/{}/fd/{}", ::getpid(), going.network_namespace.get());
  }
  return going;
}

Answer ask(const Call& call, const Message& message, bool* answered = nullptr) {
  const auto folder = folder_of(call);
  const auto text = to_json(message);
  const auto answer = ask_agent(fmt::format("{}/{}", folder, kSocket), text);
  if (answered != nullptr) *answered = answer.has_value();
  if (answer) return {answer->done ? 0 : 1, answer->text};
  if (call.command == Command::kDel) return delete_without_agent(call, folder, text);
  return failed(away(call.command, answer.error()), to_string(call.version));
}

Answer pass_on(const Call& call) {
  const auto going = outgoing_of(call);
  return going ? ask(call, going->message) : failed(going.error(), to_string(call.version));
}

// What another plugin is to be told for ADD, where the agent has said that.
struct Delegation {
  json::object config;
  bool again = false;  // an earlier one's addresses are to go first
};
std::optional<Delegation> delegation_in(const Answer& answer) {
  boost::system::error_code error;
  const auto value = json::parse(answer.exit_code == 0 ? answer.output : std::string(), error);
  const auto* object = error ? nullptr : value.if_object();
  const auto* config = object == nullptr ? nullptr : object->if_contains(kDelegateKey);
  if (config == nullptr || !config->is_object()) return std::nullopt;
  const auto* again = object->if_contains(kAgainKey);
  return Delegation{config->get_object(), again != nullptr && again->is_bool() && again->get_bool()};
}

// The error, with what else could not be done.
Answer with_more(Answer answer, const Failure& failure) {
  boost::system::error_code error;
  auto value = json::parse(answer.output, error);
  auto* object = error ? nullptr : value.if_object();
  auto* details = object == nullptr ? nullptr : object->if_contains("details");
  if (details == nullptr || !details->is_string()) return answer;
  details->get_string() += "; and " + failure.details;
  answer.output = json::serialize(value);
  return answer;
}

// The agent says first whether the container may be served, as it knows; it is told last what it was given.
Answer add_by(const AddressPlugin& plugin, const Call& call) {
  const auto version = to_string(call.version);
  auto going = outgoing_of(call);
  if (!going) return failed(going.error(), version);
  going->message.delegates = true;
  auto answer = ask(call, going->message);
  const auto delegation = delegation_in(answer);
  if (!delegation) return answer;
  if (delegation->again) {
    if (const auto gone = plugin.run(Command::kDel, delegation->config); !gone)
      return failed(gone.error(), version);
  }
  auto given = plugin.run(Command::kAdd, delegation->config);
  if (given) {
    going->message.given = *std::move(given);
    bool answered = false;
    answer = ask(call, going->message, &answered);
    if (answer.exit_code == 0) return answer;
    // Then nobody has taken back what it may have made.
    auto removal = call;
    removal.command = Command::kDel;
    if (!answered) pass_on(removal);
  } else {
    answer = failed(given.error(), version);
  }
  const auto undone = plugin.run(Command::kDel, delegation->config);
  return undone ? answer : with_more(std::move(answer), undone.error());
}

// All commands but ADD: the agent's part and that plugin's. DEL frees an address when nobody has it any more.
Answer do_both(const AddressPlugin& plugin, const Call& call) {
  auto answer = pass_on(call);
  if (answer.exit_code != 0 && call.command != Command::kGc) return answer;
  auto config = with_pod_nets(call.config, kAnyNets);
  const auto done = plugin.run(call.command, *config);
  if (done) return answer;
  return answer.exit_code != 0 ? with_more(std::move(answer), done.error())
                               : failed(done.error(), to_string(call.version));
}

// Who would call itself without end.
bool is_itself(const Call& call, const std::string& name) {
  const auto* type = call.config.if_contains("type");
  return name == kAddressesPlugin || (type != nullptr && type->is_string() && type->get_string() == name);
}

// Of a call that was refused: as far as it can be read.
std::string version_in(std::string_view config) {
  boost::system::error_code error;
  const auto value = json::parse(config, error);
  const auto* object = error ? nullptr : value.if_object();
  const auto* version = object == nullptr ? nullptr : object->if_contains("cniVersion");
  return version == nullptr || !version->is_string() ? std::string() : std::string(version->get_string());
}

}  // namespace

Answer run_plugin(const Environment& environment, std::string_view config) {
  const auto call = read_call(environment, config);
  if (!call) return failed(call.error(), version_in(config));
  if (call->command == Command::kVersion) return versions(call->config);
  if (call->command == Command::kDel && !call->may_have_been_added()) return {};
  const auto name = call->role == Role::kNetwork ? address_plugin_in(call->config) : std::string();
  if (name.empty()) return pass_on(*call);
  if (is_itself(*call, name)) {
    return failed(
        {FailureCode::kUnsupportedField, "the network configuration asks for what is not there",
         fmt::format(
             "ipam.type is \"{}\", which cannot give this plugin addresses; say \"calico-ipam\" in {}", name,
             kNetworkFile)},
        to_string(call->version));
  }
  const AddressPlugin plugin(name, environment);
  return call->command == Command::kAdd ? add_by(plugin, *call) : do_both(plugin, *call);
}

}  // namespace ocicat::cni
