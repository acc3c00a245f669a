#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <memory>

#include "api/server/selection.h"
#include "cli/commands.h"
#include "cli/named.h"
#include "cli/output.h"
#include "cli/run.h"
#include "resources/decode.h"
#include "views/resource_table.h"

namespace ocicat::cli {
namespace {

namespace json = boost::json;

struct GetOptions {
  std::vector<std::string> words;
  std::string ns;
  bool all_namespaces = false;
  std::string selector;
  std::string output;
  bool watch = false;
  bool show_labels = false;
  bool no_headers = false;
  std::string server;

  Format format() const { return parse_format(output).value_or(Format::kTable); }
  bool is_table() const { return format() == Format::kTable || format() == Format::kWide; }
  // The namespace to ask for; none: all of them, or a kind that has none.
  std::optional<std::string> namespace_for(Kind kind) const {
    if (all_namespaces || !info(kind).namespaced) return {};
    return ns.empty() ? "default" : ns;
  }
  views::TableStyle style_for(Kind kind) const {
    return {format() == Format::kWide, all_namespaces && info(kind).namespaced, show_labels};
  }
};

// Objects of one kind, and where to watch from.
struct Found {
  Kind kind{};
  std::vector<json::object> objects;
  std::string resource_version;
};

// What is there of it, and why the rest is not.
struct FoundByName {
  std::vector<Found> found;
  std::optional<Error> missing;  // of all that could not be had; the code of the first
};

FoundByName find_by_name(api::Client& client, const std::vector<ResourceKey>& keys) {
  FoundByName all;
  for (const ResourceKey& key : keys) {
    auto object = client.get(key);
    if (!object) {
      const auto error = within(key.to_string(), object.error()).error();
      if (!all.missing) {
        all.missing = error;
      } else {
        all.missing->message += "; " + error.message;
      }
      continue;
    }
    auto same = std::ranges::find(all.found, key.kind, &Found::kind);
    if (same == all.found.end()) same = all.found.insert(all.found.end(), Found{key.kind, {}, {}});
    same->objects.push_back(*std::move(object));
  }
  return all;
}

Result<std::vector<Found>> find_all(api::Client& client, const GetOptions& options,
                                    const std::vector<Kind>& kinds) {
  std::vector<Found> found;
  for (const Kind kind : kinds) {
    auto listed = client.list(kind, options.namespace_for(kind), options.selector);
    if (!listed) return within(info(kind).plural, listed.error());
    found.push_back({kind, std::move(listed->items), std::move(listed->resource_version)});
  }
  return found;
}

void print_names(const Found& found) {
  for (const json::object& object : found.objects) {
    if (const auto key = key_of(object)) say("{}\n", short_name(*key));
  }
}

void print_tables(const std::vector<Found>& all, const GetOptions& options) {
  bool first = true;
  for (const Found& found : all) {
    if (found.objects.empty()) continue;
    if (!first) say("\n");
    first = false;
    const auto table = views::table_for(found.kind, found.objects, options.style_for(found.kind), now());
    say("{}", table.to_string(!options.no_headers));
  }
  if (!first || all.empty()) return;
  const auto ns = options.namespace_for(all.front().kind);
  fmt::print(stderr, "No objects found{}.\n", ns ? fmt::format(" in namespace {}", *ns) : "");
}

void print(const std::vector<Found>& all, const GetOptions& options, bool one_by_name) {
  if (options.format() == Format::kTable || options.format() == Format::kWide)
    return print_tables(all, options);
  if (options.format() == Format::kName) {
    std::ranges::for_each(all, print_names);
    return;
  }
  std::vector<json::object> objects;
  for (const Found& found : all) objects.insert(objects.end(), found.objects.begin(), found.objects.end());
  const json::object document = one_by_name && objects.size() == 1 ? objects.front() : list_of(objects);
  say("{}", document_text(document, options.format()));
}

// Prints objects as they come, a row or a document each.
class EventPrinter {
 public:
  // Columns are as wide as `first` and the rows printed so far make them.
  EventPrinter(const GetOptions& options, Kind kind, const std::vector<json::object>& first)
      : options_(options), kind_(kind), headers_(views::headers_for(kind, options.style_for(kind))) {
    headers_.insert(headers_.begin(), "EVENT   ");  // MODIFIED is as long
    widen(headers_);
    for (const json::object& object : first) widen(row_of("ADDED", object));
    if (!options_.no_headers && options_.is_table()) print_line(headers_);
  }

  void print(std::string_view event, const json::object& object) {
    switch (options_.format()) {
      case Format::kJson:
        say("{}", document_text(object, Format::kJson));
        break;
      case Format::kYaml:
        say("---\n{}", document_text(object, Format::kYaml));
        break;
      case Format::kName:
        print_names({kind_, {object}, {}});
        break;
      default: {
        const auto row = row_of(event, object);
        widen(row);
        print_line(row);
      }
    }
    std::fflush(stdout);
  }

 private:
  std::vector<std::string> row_of(std::string_view event, const json::object& object) const {
    auto row = views::row_for(kind_, object, options_.style_for(kind_), now());
    row.insert(row.begin(), std::string(event));
    return row;
  }

  void widen(const std::vector<std::string>& row) {
    widths_.resize(row.size());
    for (std::size_t i = 0; i < row.size(); ++i)
      widths_[i] = std::max(widths_[i], views::display_width(row[i]));
  }

  void print_line(const std::vector<std::string>& row) const {
    // A first row of blanks holds the columns open.
    views::TextTable table{{}, {row}};
    for (const std::size_t width : widths_) table.headers.emplace_back(width, ' ');
    const std::string text = table.to_string();
    say("{}", text.substr(text.find('\n') + 1));
  }

  const GetOptions& options_;
  Kind kind_;
  std::vector<std::string> headers_;
  std::vector<std::size_t> widths_;
};

std::string_view name_of(api::Client::EventType type) {
  switch (type) {
    case api::Client::EventType::kAdded:
      return "ADDED";
    case api::Client::EventType::kModified:
      return "MODIFIED";
    case api::Client::EventType::kDeleted:
      return "DELETED";
    case api::Client::EventType::kBookmark:
      return "BOOKMARK";
  }
  return "";
}

// Until the server goes away, or what is said is not taken. A stream that ends is taken up where it ended.
Result<int> watch(api::Client& client, const GetOptions& options, Kind kind, const std::string& name) {
  const auto wanted = [&](const json::object& object) {
    return name.empty() || views::text_at(object, {"metadata", "name"}) == name;
  };
  const auto ns = options.namespace_for(kind);
  TRY(api::Listed listed, client.list(kind, ns));
  std::erase_if(listed.items, [&](const json::object& object) { return !wanted(object); });
  EventPrinter printer(options, kind, listed.items);
  for (const json::object& object : listed.items) printer.print("ADDED", object);
  std::string from = listed.resource_version;
  while (all_is_written()) {
    const auto ended = client.watch(kind, ns, from, [&](const api::Client::Event& event) {
      from = views::text_at(event.object, {"metadata", "resourceVersion"});
      if (event.type != api::Client::EventType::kBookmark && wanted(event.object)) {
        printer.print(name_of(event.type), event.object);
      }
      return all_is_written();
    });
    if (!ended) return std::unexpected(ended.error());
  }
  return kFailed;  // and run() says why
}

// What is to be shown: the objects named, or else all of the kinds.
struct Wanted {
  std::vector<ResourceKey> keys;
  std::vector<Kind> kinds;
};

Wanted wanted_of(const GetOptions& options) {
  const auto refuse = [](const char* why) { wrong_usage({ErrorCode::kInvalid, why}); };
  if (options.all_namespaces && !options.ns.empty()) refuse("-n and -A exclude each other");
  typed(api::LabelSelector::parse(options.selector));
  Wanted wanted{typed(keys_of_words(options.words, options.ns)), {}};
  if (!wanted.keys.empty() && (!options.selector.empty() || options.all_namespaces)) {
    refuse("objects are named, so there is nothing for -l or -A to choose");
  }
  if (wanted.keys.empty()) wanted.kinds = typed(kinds_of_words(options.words.front()));
  if (options.watch && (wanted.keys.size() > 1 || wanted.kinds.size() > 1 || !options.selector.empty())) {
    refuse("-w watches one kind or one object, without -l");
  }
  return wanted;
}

Result<int> run_get(const GetOptions& options) {
  const auto [keys, kinds] = wanted_of(options);
  TRY(api::Client client, connect(options.server));
  if (options.watch) {
    return keys.empty() ? watch(client, options, kinds.front(), "")
                        : watch(client, options, keys.front().kind, keys.front().name);
  }
  if (!keys.empty()) {
    const auto [found, missing] = find_by_name(client, keys);
    if (!found.empty()) print(found, options, keys.size() == 1);
    if (missing) return std::unexpected(*missing);
  } else {
    TRY(const std::vector<Found> found, find_all(client, options, kinds));
    print(found, options, false);
  }
  return kDone;
}

constexpr std::string_view kGetFooter =
    R"(KIND is a kind in singular or plural, or its short name (`ocicat api-kinds`). `networkpolicy` is Calico's; that of
Kubernetes goes by networkpolicy.networking.k8s.io or knp.

Examples:
  ocicat get networkpolicy -n shop
  ocicat get tier,gnp -o wide
  ocicat get gnp/quarantine -o yaml
  ocicat get workloadendpoints -A -l app=web -o name
  ocicat get pods -A -w)";

}  // namespace

void add_get_command(CLI::App& app) {
  auto* command = app.add_subcommand("get", "Show objects");
  auto options = std::make_shared<GetOptions>();
  command->add_option("KIND NAME", options->words, "KIND[,KIND...], KIND NAME..., or KIND/NAME...")
      ->required();
  command->add_option("-n,--namespace", options->ns, "Namespace (default: \"default\")")->type_name("NS");
  command->add_flag("-A,--all-namespaces", options->all_namespaces, "Of all namespaces");
  command->add_option("-l,--selector", options->selector, "Only with these labels: app=web,tier!=db")
      ->type_name("LABELS");
  command->add_option("-o,--output", options->output, "Output: json, yaml, wide or name")
      ->check(CLI::IsMember({"json", "yaml", "wide", "name"}));
  command->add_flag("-w,--watch", options->watch, "Show them, then every change, until interrupted");
  command->add_flag("--show-labels", options->show_labels, "A column of labels");
  command->add_flag("--no-headers", options->no_headers, "No line of column names");
  add_server_option(*command, options->server);
  command->footer(std::string(kGetFooter));
  command->callback([options] { finish(run_get(*options)); });
}

}  // namespace ocicat::cli
