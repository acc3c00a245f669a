#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <fstream>
#include <memory>

#include "cli/commands.h"
#include "cli/duration.h"
#include "cli/inputs.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/writer.h"
#include "ipam/allocator.h"
#include "ipam/api_documents.h"
#include "ipam/inventory.h"
#include "ipam/settings.h"
#include "network/pool_split.h"
#include "network/pool_usage.h"
#include "views/addresses.h"
#include "views/text_table.h"

namespace ocicat::cli {
namespace {

namespace json = boost::json;
using ipam::ApiDocuments;

// What all of them take.
struct Common {
  std::string server;
  std::string output;

  void add_to(CLI::App& command) {
    command.add_option("-o,--output", output, "Output: json or yaml")->check(CLI::IsMember({"json", "yaml"}));
    add_server_option(command, server);
  }
  bool as_text() const { return output.empty(); }
  void print(const json::object& object) const { say("{}", document_text(object, *parse_format(output))); }
};

// The server answers, or the error says what to do.
Result<std::unique_ptr<ApiDocuments>> documents_of(const std::string& server) {
  TRY_VOID(connect(server));
  return std::make_unique<ApiDocuments>(address_of(server));
}

IpAddress address_of_word(const std::string& word) {
  const auto address = IpAddress::parse(word);
  if (!address) wrong_usage({ErrorCode::kInvalid, fmt::format("{}: must be an IP address", word)});
  return *address;
}

// --- show

struct ShowOptions : Common {
  std::vector<std::string> addresses;
  bool blocks = false;
};

Result<int> run_show(const ShowOptions& options) {
  std::vector<IpAddress> addresses;
  for (const auto& word : options.addresses) addresses.push_back(address_of_word(word));
  TRY(const auto documents, documents_of(options.server));
  TRY(auto settings, ipam::read_settings(*documents));
  TRY(auto listing, ipam::list_blocks(*documents));
  network::Inventory inventory;
  inventory.pools = std::move(settings.pools);
  inventory.reservations = std::move(settings.reservations);
  for (auto& [cidr, block] : listing.blocks) inventory.blocks.push_back(std::move(block.value));
  inventory.unreadable = std::move(listing.unreadable);
  if (!addresses.empty()) {
    json::array list;
    for (const auto& address : addresses) {
      const auto view = views::address_view(inventory, address);
      if (options.as_text()) say("{}", views::to_text(view));
      list.push_back(views::to_json(view));
    }
    if (!options.as_text()) options.print({{"addresses", std::move(list)}});
    return kDone;
  }
  const auto usage = network::usage_of(inventory.pools, inventory.blocks, inventory.reservations, now());
  if (!options.as_text()) {
    options.print(views::usage_json(usage));
  } else if (options.blocks) {
    say("{}", views::blocks_text(usage, now()));
  } else {
    say("{}", views::pools_text(usage));
  }
  for (const auto& [key, why, block] : inventory.unreadable)
    print_warning(fmt::format("{} cannot be read, and is not counted: {}", key.to_string(), why));
  return kDone;
}

constexpr std::string_view kShowFooter =
    R"(Of each pool: how many addresses are used, cool down after their release, are reserved, and are free; of how many
blocks hosts have made use; and when it will be full, if it goes on as in the last hour.

Examples:
  ocicat ipam show
  ocicat ipam show --blocks
  ocicat ipam show 10.0.0.7                 # who has it
  ocicat ipam show -o json)";

void add_show(CLI::App& ipam) {
  auto* command = ipam.add_subcommand("show", "Show how full pools are, blocks, or who has an address");
  auto options = std::make_shared<ShowOptions>();
  command->add_option("ADDRESS", options->addresses, "Say who has these addresses");
  command->add_flag("--blocks", options->blocks, "Show blocks instead of pools");
  options->add_to(*command);
  command->footer(std::string(kShowFooter));
  command->callback([options] { finish(run_show(*options)); });
}

// --- check

struct CheckOptions : Common {
  std::string report;
  std::string grace = "15m";
};

// When each finding was first seen; nothing has been seen where there is no such file.
Result<network::Sightings> read_sightings(const std::string& path, bool must_exist) {
  if (path.empty()) return network::Sightings{};
  if (!must_exist && !std::ifstream(path)) return network::Sightings{};
  TRY(const auto text, read_text(path));
  boost::system::error_code error;
  const auto value = json::parse(text, error);
  if (error || !value.is_object()) return fail(ErrorCode::kInvalid, "{}: is not JSON", path);
  auto sightings = views::sightings_of(value.get_object());
  if (!sightings) return within(path, sightings.error());
  return sightings;
}

Result<void> write_report(const std::string& path, const views::GarbageReport& report) {
  const auto text = pretty(views::to_json(report)) + "\n";
  std::ofstream file(path, std::ios::trunc);
  file << text;
  file.flush();
  if (!file) return fail_errno(fmt::format("cannot write {}", path), errno);
  return {};
}

Result<int> run_check(const CheckOptions& options) {
  const auto grace = typed(parse_duration(options.grace));
  TRY(const auto seen, read_sightings(options.report, false));
  TRY(const auto documents, documents_of(options.server));
  TRY(const auto read, ipam::read_inventory(*documents));
  const network::GracePeriods periods{std::chrono::ceil<std::chrono::seconds>(grace)};
  const views::GarbageReport report{now(), network::find_garbage(read.inventory, seen, now(), periods)};
  if (!options.report.empty()) TRY_VOID(write_report(options.report, report));
  if (options.as_text()) {
    say("{}", views::to_text(report));
  } else {
    options.print(views::to_json(report));
  }
  const bool amiss = std::ranges::any_of(
      report.findings, [](const auto& finding) { return finding.verdict != network::Verdict::kWait; });
  return amiss ? kFailed : kDone;
}

constexpr std::string_view kCheckFooter =
    R"(Looks for addresses whose owner is gone, and for documents of address management that do not fit together. Of each
finding it says whether it may be freed, has to be seen for longer (a workload may just be on its way), or is for you to
judge. Nothing is changed. With --report what was found is kept in a file, together with when it was first seen: a second
look at least the grace period later tells what has stayed, and `ocicat ipam release --from-report` frees that.

The exit code is 1 where there is something to free or to judge.

Examples:
  ocicat ipam check
  ocicat ipam check --report leaks.json     # and again later
  ocicat ipam release --from-report leaks.json)";

void add_check(CLI::App& ipam) {
  auto* command = ipam.add_subcommand("check", "Look for addresses that have leaked, and other faults");
  auto options = std::make_shared<CheckOptions>();
  command->add_option("--report", options->report, "Keep what is found in this file")->type_name("FILE");
  command->add_option("--grace", options->grace, "How long an owner must be gone, such as 15m")
      ->capture_default_str()
      ->type_name("TIME");
  options->add_to(*command);
  command->footer(std::string(kCheckFooter));
  command->callback([options] { finish(run_check(*options)); });
}

// --- release

struct ReleaseOptions : Common {
  std::vector<std::string> addresses;
  std::string handle;
  std::string report;
  std::string grace = "15m";
  bool dry_run = false;
};

Result<int> release_words(ApiDocuments& documents, const ReleaseOptions& options) {
  std::vector<network::Release> releases;
  for (const auto& word : options.addresses) releases.push_back({address_of_word(word), {}, {}});
  const auto answers = ipam::release_addresses(documents, releases, now());
  int code = kDone;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i]) {
      say("{} {}\n", options.addresses[i], *answers[i] ? "released" : "was not assigned");
    } else {
      print_error(answers[i].error());
      code = kFailed;
    }
  }
  return code;
}

Result<int> release_handle(ApiDocuments& documents, const ReleaseOptions& options) {
  ipam::Allocator allocator(documents);
  TRY(const auto released, allocator.release(options.handle));
  for (const auto& address : released.addresses) say("{} released\n", address.to_string());
  if (released.addresses.empty()) say("handle {} had no addresses\n", views::printable(options.handle));
  return kDone;
}

// Only what still is as it was when it was reported, long enough ago.
Result<int> release_reported(ApiDocuments& documents, const ReleaseOptions& options) {
  const auto grace = typed(parse_duration(options.grace));
  TRY(const auto seen, read_sightings(options.report, true));
  TRY(const auto read, ipam::read_inventory(documents));
  const network::GracePeriods periods{std::chrono::ceil<std::chrono::seconds>(grace)};
  auto findings = network::find_garbage(read.inventory, seen, now(), periods);
  std::erase_if(findings, [&](const auto& finding) {
    return finding.verdict != network::Verdict::kFree || !seen.contains(finding.key());
  });
  if (options.dry_run) {
    for (const auto& finding : findings)
      say("{} {} would be freed: {}\n", to_string(finding.fault), finding.subject, finding.reason);
    return kDone;
  }
  int code = kDone;
  for (const auto& [finding, outcome] : ipam::free_garbage(documents, findings, now())) {
    if (outcome) {
      say("{} {} freed\n", to_string(finding->fault), finding->subject);
    } else {
      print_error({outcome.error().code, fmt::format("{}: {}", finding->subject, outcome.error().message)});
      code = kFailed;
    }
  }
  if (findings.empty()) say("Nothing of the report may be freed now.\n");
  return code;
}

Result<int> run_release(const ReleaseOptions& options) {
  const int ways = static_cast<int>(!options.addresses.empty()) + static_cast<int>(!options.handle.empty()) +
                   static_cast<int>(!options.report.empty());
  if (ways != 1)
    wrong_usage({ErrorCode::kInvalid, "give addresses, or --handle, or --from-report, and one of them only"});
  if (options.dry_run && options.report.empty())
    wrong_usage({ErrorCode::kInvalid, "--dry-run goes with --from-report"});
  TRY(const auto documents, documents_of(options.server));
  if (!options.addresses.empty()) return release_words(*documents, options);
  if (!options.handle.empty()) return release_handle(*documents, options);
  return release_reported(*documents, options);
}

constexpr std::string_view kReleaseFooter =
    R"(Takes addresses back, so that others may get them: single ones, all of a handle, or what a report of `ocicat ipam
check` found. Of a report only that is freed which is still as it was, and has been for the grace period. An address that
a workload still uses must not be released: two would have it. `ocicat ipam show ADDRESS` says who was given it.

Examples:
  ocicat ipam release 10.0.0.7
  ocicat ipam release --handle k8s-pod-network.3f0c9a
  ocicat ipam release --from-report leaks.json --dry-run)";

void add_release(CLI::App& ipam) {
  auto* command = ipam.add_subcommand("release", "Take addresses back");
  auto options = std::make_shared<ReleaseOptions>();
  command->add_option("ADDRESS", options->addresses, "Addresses to release");
  command->add_option("--handle", options->handle, "Release all addresses of this handle")->type_name("ID");
  command->add_option("--from-report", options->report, "Free what a report says may be freed")
      ->type_name("FILE");
  command->add_option("--grace", options->grace, "With --from-report: how long an owner must be gone")
      ->capture_default_str()
      ->type_name("TIME");
  command->add_flag("--dry-run", options->dry_run, "With --from-report: only say what would be freed");
  add_server_option(*command, options->server);
  command->footer(std::string(kReleaseFooter));
  command->callback([options] { finish(run_release(*options)); });
}

// --- configure

struct ConfigureOptions : Common {
  std::optional<bool> strict_affinity;
  std::optional<bool> auto_allocate_blocks;
  std::optional<int> max_blocks_per_host;
  std::string cooldown;
};

std::string configuration_text(const IpamConfiguration& configuration) {
  return fmt::format(
      "strictAffinity: {}\nautoAllocateBlocks: {}\nmaxBlocksPerHost: {}\nipCooldownSeconds: {}\n",
      configuration.strict_affinity, configuration.auto_allocate_blocks, configuration.max_blocks_per_host,
      configuration.cooldown.count());
}

Result<int> run_configure(const ConfigureOptions& options) {
  std::optional<std::chrono::seconds> cooldown;
  if (!options.cooldown.empty())
    cooldown = std::chrono::ceil<std::chrono::seconds>(typed(parse_duration(options.cooldown)));
  const bool changes =
      options.strict_affinity || options.auto_allocate_blocks || options.max_blocks_per_host || cooldown;
  TRY(auto client, connect(options.server));
  auto document = client.get(ipam_configuration_key());
  const bool is_there = document.has_value();
  if (!is_there && document.error().code != ErrorCode::kNotFound) return std::unexpected(document.error());
  json::object object = is_there ? *std::move(document) : encode(IpamConfiguration{});
  if (changes) {
    auto& spec = object["spec"].as_object();
    if (options.strict_affinity) spec["strictAffinity"] = *options.strict_affinity;
    if (options.auto_allocate_blocks) spec["autoAllocateBlocks"] = *options.auto_allocate_blocks;
    if (options.max_blocks_per_host) spec["maxBlocksPerHost"] = *options.max_blocks_per_host;
    if (cooldown) spec["ipCooldownSeconds"] = cooldown->count();
    TRY(const auto wanted, decode_ipam_configuration(object));
    if (const auto why_not = contradiction_in(wanted); !why_not.empty())
      return fail(ErrorCode::kInvalid, "{}", why_not);
    TRY(object, is_there ? client.update(object) : client.create(object));
  }
  TRY(const auto configuration, decode_ipam_configuration(object));
  if (options.as_text()) {
    say("{}", configuration_text(configuration));
  } else {
    options.print(object);
  }
  return kDone;
}

constexpr std::string_view kConfigureFooter =
    R"(Without options it shows what is set. strictAffinity: hosts take addresses from their own blocks only, and never borrow.
autoAllocateBlocks: hosts may claim new blocks; it can be off only with strictAffinity. maxBlocksPerHost: of each family;
0 stands for 20; it needs strictAffinity. The cool-down is how long a released address is given to nobody (at most 20m).

Examples:
  ocicat ipam configure
  ocicat ipam configure --strict-affinity true --max-blocks-per-host 4
  ocicat ipam configure --cooldown 60s)";

void add_configure(CLI::App& ipam) {
  auto* command = ipam.add_subcommand("configure", "Show or change how addresses are given");
  auto options = std::make_shared<ConfigureOptions>();
  command->add_option("--strict-affinity", options->strict_affinity, "Only from own blocks")
      ->type_name("BOOL");
  command->add_option("--auto-allocate-blocks", options->auto_allocate_blocks, "Hosts may claim blocks")
      ->type_name("BOOL");
  command
      ->add_option("--max-blocks-per-host", options->max_blocks_per_host,
                   "Blocks of each family a host may have")
      ->check(CLI::Range(0, 1'000'000))
      ->type_name("N");
  command->add_option("--cooldown", options->cooldown, "From release to the next assignment, such as 60s")
      ->type_name("TIME");
  options->add_to(*command);
  command->footer(std::string(kConfigureFooter));
  command->callback([options] { finish(run_configure(*options)); });
}

// --- split

struct SplitOptions : Common {
  std::string pool;
  int parts = 0;
  bool dry_run = false;
};

Result<int> run_split(const SplitOptions& options) {
  TRY(auto client, connect(options.server));
  const ResourceKey key{Kind::kIpPool, "", options.pool};
  TRY(const auto pool, client.get(key));
  TRY(auto parts, network::split_pool(pool, options.parts));
  for (const auto& part : parts) {
    const ResourceKey part_key{Kind::kIpPool, "", std::string(part.at("metadata").at("name").as_string())};
    if (client.get(part_key))
      return fail(ErrorCode::kAlreadyExists, "there is an {} already", part_key.to_string());
  }
  if (options.dry_run) {
    say("{}",
        document_text(list_of(parts), options.as_text() ? Format::kYaml : *parse_format(options.output)));
    return kDone;
  }
  // Pools may not overlap, so for a moment there is none: what is assigned stays, and nothing new is.
  TRY_VOID(client.remove(key, true));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto made = client.create(parts[i]);
    if (made) {
      say("ippool {} created\n", std::string_view(parts[i].at("metadata").at("name").as_string()));
      continue;
    }
    say("{}", document_text(list_of(std::span(parts).subspan(i)), Format::kYaml));
    return fail(made.error().code,
                "{} was removed, and not all of its parts were made ({}); apply the documents "
                "above (ocicat apply -f -)",
                key.to_string(), made.error().message);
  }
  return kDone;
}

constexpr std::string_view kSplitFooter =
    R"(Puts pools of equal size, NAME-1, NAME-2 …, in the place of one; everything else is as it was. Workloads keep their
addresses. Between the removal of the pool and the making of its parts nobody gets an address from it, and for these
milliseconds what its workloads send leaves as from no pool: in no tunnel, and to the outside with their own addresses.

Examples:
  ocicat ipam split default-pool --into 2 --dry-run
  ocicat ipam split default-pool --into 4)";

void add_split(CLI::App& ipam) {
  auto* command = ipam.add_subcommand("split", "Put several smaller pools in the place of one");
  auto options = std::make_shared<SplitOptions>();
  command->add_option("POOL", options->pool, "The pool")->required();
  command->add_option("--into", options->parts, "How many parts: 2, 4, 8 …")->required()->type_name("N");
  command->add_flag("--dry-run", options->dry_run, "Only print the parts");
  options->add_to(*command);
  command->footer(std::string(kSplitFooter));
  command->callback([options] { finish(run_split(*options)); });
}

}  // namespace

void add_ipam_command(CLI::App& app) {
  auto* command = app.add_subcommand("ipam", "Look at addresses and who has them, and manage them");
  command->require_subcommand(1);
  command->footer("Examples:\n  ocicat ipam show\n  ocicat ipam check");
  add_show(*command);
  add_check(*command);
  add_release(*command);
  add_configure(*command);
  add_split(*command);
}

}  // namespace ocicat::cli
