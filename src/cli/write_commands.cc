#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <memory>
#include <optional>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/writer.h"

namespace ocicat::cli {
namespace {

struct WriteOptions {
  FileOptions files;
  std::string server;
  std::string output;
  bool dry_run = false;
};

// Lists what a failure left undone, so that nobody has to guess.
void print_undone(const std::vector<Input>& objects, std::size_t failed) {
  for (std::size_t i = failed + 1; i < objects.size(); ++i) {
    fmt::print(stderr, "not sent: {}\n", objects[i].key.to_string());
  }
  if (failed > 0)
    fmt::print(stderr, "What stands above was done before; run the same again once the cause is mended.\n");
}

void print_written(const Input& input, const Written& written, const WriteOptions& options) {
  if (options.output == "name") {
    say("{}\n", short_name(input.key));
  } else if (options.output.empty()) {
    say("{} {}{}\n", short_name(input.key), written.what, options.dry_run ? " (dry run)" : "");
  }
}

void print_all(const std::vector<boost::json::object>& written, const std::string& output) {
  if (output != "json" && output != "yaml") return;
  const boost::json::object document = written.size() == 1 ? written.front() : list_of(written);
  say("{}", document_text(document, *parse_format(output)));
}

void print_failure(const Input& input, const Error& error) {
  print_error({error.code,
               fmt::format("{}:{}: {}: {}", input.file, input.line, input.key.to_string(), error.message)});
}

// The server has no tier of that name yet, and will have one as soon as these objects are sent.
bool waits_for_its_tier(const Input& input, const std::vector<Input>& objects) {
  const auto* spec = input.json.if_contains("spec");
  const auto* tier = spec && spec->is_object() ? spec->get_object().if_contains("tier") : nullptr;
  if (!tier || !tier->is_string()) return false;
  const ResourceKey wanted{Kind::kTier, "", std::string(tier->get_string())};
  return std::ranges::find(objects, wanted, &Input::key) != objects.end();
}

// A BGPPeer without those of its filters that these objects bring; nothing: they bring none.
std::optional<boost::json::object> without_new_filters(const Input& input,
                                                       const std::vector<Input>& objects) {
  if (input.key.kind != Kind::kBgpPeer) return std::nullopt;
  auto json = input.json;
  auto* spec = json.if_contains("spec");
  auto* filters = spec && spec->is_object() ? spec->get_object().if_contains("filters") : nullptr;
  if (!filters || !filters->is_array()) return std::nullopt;
  boost::json::array others;
  for (const auto& name : filters->get_array()) {
    const auto is_new = [&](const Input& other) {
      return other.key.kind == Kind::kBgpFilter && name.is_string() && other.key.name == name.get_string();
    };
    if (std::ranges::none_of(objects, is_new)) others.push_back(name);
  }
  if (others.size() == filters->get_array().size()) return std::nullopt;
  *filters = std::move(others);
  return json;
}

// What the server would make of each; prints what it would refuse, all of it. Nothing where it would refuse.
std::optional<std::vector<Written>> rehearse(api::Client& client, const std::vector<Input>& objects,
                                             WriteMode mode) {
  std::vector<Written> written;
  for (const Input& input : objects) {
    auto would_be = write_object(client, input.json, mode, true);
    if (!would_be && would_be.error().code == ErrorCode::kInvalid && waits_for_its_tier(input, objects)) {
      would_be = Written{"created", input.json};
    }
    // Filters go before it. All else that is wrong with it shows without them, too.
    if (!would_be && would_be.error().code == ErrorCode::kInvalid) {
      if (const auto rest = without_new_filters(input, objects)) {
        would_be = write_object(client, *rest, mode, true);
        if (would_be) would_be->object = input.json;
      }
    }
    if (would_be) {
      written.push_back(*std::move(would_be));
    } else {
      print_failure(input, would_be.error());
    }
  }
  if (written.size() == objects.size()) return written;
  fmt::print(stderr, "Nothing was sent.\n");
  return std::nullopt;
}

Result<int> run_write(const WriteOptions& options, WriteMode mode) {
  const Inputs inputs = read_inputs(options.files);
  if (!inputs.ok()) {
    print_complaints(inputs);
    fmt::print(stderr, "Nothing was sent.\n");
    return kFailed;
  }
  print_warnings(inputs);
  TRY(api::Client client, connect(options.server));
  std::optional<std::vector<Written>> rehearsed;
  if (options.dry_run || inputs.objects.size() > 1) {
    rehearsed = rehearse(client, inputs.objects, mode);
    if (!rehearsed) return kFailed;
  }
  std::vector<boost::json::object> objects;
  for (std::size_t i = 0; i < inputs.objects.size(); ++i) {
    const Input& input = inputs.objects[i];
    auto written = options.dry_run ? Result<Written>(std::move((*rehearsed)[i]))
                                   : write_object(client, input.json, mode, false);
    if (!written) {
      print_failure(input, written.error());
      print_undone(inputs.objects, i);
      return kFailed;
    }
    print_written(input, *written, options);
    objects.push_back(std::move(written->object));
  }
  print_all(objects, options.output);
  return kDone;
}

constexpr std::string_view kRules = R"(
Every document is checked before the first one is sent, and where there are several the server is asked as well:
with a mistake in any of them, all mistakes are printed as FILE:LINE and nothing is sent. Tiers, namespaces, service
accounts and sets go first, then policies, then workloads.
A document of a namespaced kind without a namespace gets that of -n, else "default".
)";

void add_write_command(CLI::App& app, const char* name, const char* about, WriteMode mode,
                       std::string_view examples) {
  auto* command = app.add_subcommand(name, about);
  auto options = std::make_shared<WriteOptions>();
  add_file_options(*command, options->files, true);
  command->add_option("-n,--namespace", options->files.ns, "Namespace of documents that name none")
      ->type_name("NS");
  command->add_flag("--dry-run", options->dry_run, "Check, let the server check as well, and change nothing");
  command->add_option("-o,--output", options->output, "Output: json, yaml or name")
      ->check(CLI::IsMember({"json", "yaml", "name"}));
  add_server_option(*command, options->server);
  command->footer(fmt::format("{}\nExamples:\n{}", kRules, examples));
  command->callback([options, mode] { finish(run_write(*options, mode)); });
}

}  // namespace

void add_write_commands(CLI::App& app) {
  add_write_command(app, "apply", "Create objects, or replace those that are there and differ",
                    WriteMode::kApply,
                    "  ocicat apply -f policy.yaml\n  ocicat apply -f policies/ -R --dry-run\n"
                    "  generate-policies | ocicat apply -f -");
  add_write_command(app, "create", "Create objects that are not there yet", WriteMode::kCreate,
                    "  ocicat create -f tier.yaml -f policy.yaml");
  add_write_command(app, "replace", "Replace objects that are there", WriteMode::kReplace,
                    "  ocicat get tier security -o yaml > tier.yaml\n  $EDITOR tier.yaml\n"
                    "  ocicat replace -f tier.yaml      # refused if somebody changed it meanwhile");
}

}  // namespace ocicat::cli
