// "3x32x32:conv16,relu,pool2,10": the notation of models as lists of modules.
#include <fmt/format.h>
#include <kindling/model.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

namespace kindling {
namespace {

constexpr std::int64_t largest = 1 << 24;

[[noreturn]] void refuse(std::string_view whole, std::string_view item, const std::string& what) {
  throw Error(ErrorCode::usage, fmt::format("model '{}': module '{}': {}", whole, item, what));
}

// A positive number (0 allowed on request) at the front of `text`, which moves past it.
std::optional<std::int64_t> take_number(std::string_view& text, std::int64_t least = 1) {
  std::int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || value < least || value > largest || text.front() == '-') return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

enum class Kind { layer, activation };
struct Module {
  Kind kind = Kind::layer;
  LayerKind layer = LayerKind::dense;
  Activation activation;
  std::int64_t width = 0;  // dense width or conv channels
  Window window;
  bool whole_image = false;
  double rate = 0;
  std::string text;  // as it is printed
};

Module activation_module(const Activation& activation) {
  return {.kind = Kind::activation, .activation = activation, .text = to_string(activation)};
}
Module flatten_module() { return {.layer = LayerKind::flatten, .text = "flatten"}; }

// "k5", "s2", "p0" in any order, each at most once.
void read_window(std::string_view whole, std::string_view item, std::string_view rest, bool with_size, Window& w,
                 std::int64_t& size) {
  bool size_given = !with_size, stride_given = false, padding_given = false;
  while (!rest.empty()) {
    const char letter = rest.front();
    rest.remove_prefix(1);
    bool& given = letter == 'k' ? size_given : letter == 's' ? stride_given : padding_given;
    const std::int64_t value = rest.empty() ? -1 : take_number(rest, letter == 'p' ? 0 : 1).value_or(-1);
    if ((letter != 'k' && letter != 's' && letter != 'p') || given || value < 0) {
      refuse(whole, item,
             fmt::format("expected {}s<stride> and p<padding> after the number, each once, as in {}",
                         with_size ? "k<size>, " : "", with_size ? "conv16k5s2p0" : "pool3s2p1"));
    }
    given = true;
    (letter == 'k' ? size : letter == 's' ? w.stride : w.padding) = value;
  }
  w.height = w.width = size;
  if (with_size && !padding_given) w.padding = (size - 1) / 2;
  if (!with_size && !stride_given) w.stride = size;
}

std::string window_text(const Window& w, bool conv) {
  std::string text;
  if (conv && w.height != 3) text += fmt::format("k{}", w.height);
  if (w.stride != (conv ? 1 : w.height)) text += fmt::format("s{}", w.stride);
  if (w.padding != (conv ? (w.height - 1) / 2 : 0)) text += fmt::format("p{}", w.padding);
  return text;
}

Module parse_pool(std::string_view whole, std::string_view item, std::string_view rest, bool maximum) {
  Module m{.layer = maximum ? LayerKind::max_pool : LayerKind::average_pool};
  if (rest.empty() && !maximum) {
    m.whole_image = true;
    m.text = "avgpool";
    return m;
  }
  auto size = rest.empty() ? std::nullopt : take_number(rest);
  if (!size) refuse(whole, item, "expected the window's size, as in pool2");
  read_window(whole, item, rest, false, m.window, *size);
  m.text = fmt::format("{}{}{}", maximum ? "pool" : "avgpool", *size, window_text(m.window, false));
  return m;
}

Module parse_module(std::string_view whole, std::string_view item) {
  std::string_view rest = item;
  if (rest.empty()) refuse(whole, item, "expected a module between the commas");
  if (take_prefix(rest, "conv")) {
    Module m{.layer = LayerKind::conv2d};
    const auto channels = rest.empty() ? std::nullopt : take_number(rest);
    if (!channels) refuse(whole, item, "expected the number of channels, as in conv16");
    m.width = *channels;
    std::int64_t size = 3;
    read_window(whole, item, rest, true, m.window, size);
    m.text = fmt::format("conv{}{}", m.width, window_text(m.window, true));
    return m;
  }
  if (take_prefix(rest, "avgpool")) return parse_pool(whole, item, rest, false);
  if (take_prefix(rest, "maxpool") || take_prefix(rest, "pool")) return parse_pool(whole, item, rest, true);
  if (take_prefix(rest, "dropout")) {
    Module m{.layer = LayerKind::dropout};
    const auto [end, status] = std::from_chars(rest.data(), rest.data() + rest.size(), m.rate);
    if (rest.empty() || status != std::errc() || end != rest.data() + rest.size() || !(m.rate >= 0 && m.rate < 1)) {
      refuse(whole, item, "expected a rate in [0, 1), as in dropout0.5");
    }
    m.text = fmt::format("dropout{}", m.rate);
    return m;
  }
  if (item == "bn") return {.layer = LayerKind::batch_norm, .text = "bn"};
  if (item == "flatten") return flatten_module();
  if (item.front() >= '0' && item.front() <= '9') {
    const auto width = take_number(rest);
    if (!width || !rest.empty()) refuse(whole, item, fmt::format("expected a width 1..{}", largest));
    return {.layer = LayerKind::dense, .width = *width, .text = std::to_string(*width)};
  }
  try {
    return activation_module(parse_activation(item));
  } catch (const Error&) {
    refuse(whole, item,
           "expected conv<channels>, pool<size>, avgpool, bn, dropout<rate>, flatten, a width or an activation");
  }
}

bool has_neurons(const Module& m) {
  return m.kind == Kind::layer && (m.layer == LayerKind::dense || m.layer == LayerKind::conv2d);
}
bool is_layer(const Module& m, LayerKind kind) { return m.kind == Kind::layer && m.layer == kind; }

// The list with the flatten and relu modules that were left out.
std::vector<Module> completed(const std::vector<Module>& given, bool image) {
  std::size_t last = given.size();
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (has_neurons(given[i])) last = i;
  }
  std::vector<Module> all;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const Module& m = given[i];
    if (is_layer(m, LayerKind::flatten)) image = false;
    if (is_layer(m, LayerKind::dense) && image) {
      all.push_back(flatten_module());
      image = false;
    }
    all.push_back(m);
    const bool norm_follows = i + 1 < given.size() && is_layer(given[i + 1], LayerKind::batch_norm);
    // The norm of neurons without an activation of their own stands for them.
    const bool norm = is_layer(m, LayerKind::batch_norm) && i > 0 && has_neurons(given[i - 1]);
    const bool hidden = (has_neurons(m) && i < last) || (norm && i - 1 < last);
    const bool named = i + 1 < given.size() && given[i + 1].kind == Kind::activation;
    if (hidden && !named && !norm_follows) all.push_back(activation_module({ActivationKind::relu}));
  }
  if (image) all.push_back(flatten_module());
  return all;
}

ImageShape parse_input(std::string_view whole, std::string_view text, bool& image) {
  std::vector<std::int64_t> sizes;
  std::string_view rest = text;
  while (true) {
    const auto value = rest.empty() ? std::nullopt : take_number(rest);
    if (value) sizes.push_back(*value);
    if (!value || rest.empty() || !take_prefix(rest, "x")) break;
  }
  if (!rest.empty() || (sizes.size() != 1 && sizes.size() != 3)) {
    throw Error(ErrorCode::usage,
                fmt::format("model '{}': expected channels x height x width or a number of features before ':', as in "
                            "3x32x32:conv16,10, found '{}'",
                            whole, text));
  }
  image = sizes.size() == 3;
  const ImageShape shape = image ? ImageShape{sizes[0], sizes[1], sizes[2]} : ImageShape{sizes[0], 1, 1};
  if (shape.features() > largest)
    throw Error(ErrorCode::usage, fmt::format("model '{}': a sample has more than {} numbers", whole, largest));
  return shape;
}

void apply_window(std::string_view whole, const Module& m, Layer& layer, std::int64_t channels) {
  const ImageShape& in = layer.input;
  layer.window = m.whole_image ? Window{in.height, in.width, std::max(in.height, in.width), 0} : m.window;
  const Window& w = layer.window;
  if (w.height > in.height + 2 * w.padding || w.width > in.width + 2 * w.padding) {
    refuse(whole, m.text,
           fmt::format("a window of {} x {} does not fit an image of {} x {}", w.height, w.width, in.height, in.width));
  }
  if (m.layer != LayerKind::conv2d && 2 * w.padding > w.height)
    refuse(whole, m.text, "expected a padding of at most half the window");
  if (m.layer == LayerKind::max_pool && w.height * w.width > 256)
    refuse(whole, m.text, "a maximum is taken over at most 256 pixels");
  layer.output = {channels, (in.height + 2 * w.padding - w.height) / w.stride + 1,
                  (in.width + 2 * w.padding - w.width) / w.stride + 1};
}

// The layer of a module whose input has the shape `in`.
Layer make_layer(std::string_view whole, const Module& m, const ImageShape& in, bool image) {
  Layer layer;
  layer.kind = m.layer;
  layer.activation = {ActivationKind::identity};
  layer.input = layer.output = in;
  const auto needs = [&](bool wanted) {
    if (image != wanted) {
      refuse(whole, m.text,
             wanted ? "needs an image, and its input is flat: an input such as 3x32x32, no flatten before"
                    : "needs flat features, and its input is an image");
    }
  };
  switch (m.layer) {
    case LayerKind::dense:
      needs(false);
      layer.weight = Tensor({m.width, in.channels});
      layer.bias = Tensor({m.width});
      layer.output = {m.width, 1, 1};
      break;
    case LayerKind::conv2d:
      needs(true);
      apply_window(whole, m, layer, m.width);
      layer.weight = Tensor({m.width, in.channels, m.window.height, m.window.width});
      layer.bias = Tensor({m.width});
      break;
    case LayerKind::max_pool:
    case LayerKind::average_pool:
      needs(true);
      apply_window(whole, m, layer, in.channels);
      break;
    case LayerKind::flatten:
      needs(true);
      layer.output = {in.features(), 1, 1};
      break;
    case LayerKind::batch_norm:
      for (Tensor* t : {&layer.weight, &layer.bias, &layer.running_mean, &layer.running_var})
        *t = Tensor({in.channels});
      for (Tensor* t : {&layer.weight, &layer.running_var}) std::fill(t->flat().begin(), t->flat().end(), 1.0F);
      break;
    case LayerKind::dropout: layer.rate = m.rate; break;
  }
  if (layer.output.features() > largest) refuse(whole, m.text, fmt::format("gives more than {} numbers", largest));
  return layer;
}

}  // namespace

Model Model::parse_sequential(std::string_view text, std::size_t colon) {
  bool image = false;
  const ImageShape input = parse_input(text, text.substr(0, colon), image);
  std::vector<Module> given;
  std::string_view rest = text.substr(colon + 1);
  while (true) {
    const std::size_t comma = rest.find(',');
    given.push_back(parse_module(text, rest.substr(0, comma)));
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (std::none_of(given.begin(), given.end(), has_neurons))
    throw Error(ErrorCode::usage, fmt::format("model '{}': expected at least one conv or dense module", text));

  Model model;
  model.modules_ = std::string(text.substr(0, colon));
  ImageShape shape = input;
  const std::vector<Module> modules = completed(given, image);
  bool may_activate = false;
  for (std::size_t i = 0; i < modules.size(); ++i) {
    const Module& m = modules[i];
    model.modules_ += (i == 0 ? ":" : ",") + m.text;
    if (m.kind == Kind::activation) {
      if (!may_activate) refuse(text, m.text, "an activation stands right after a dense, conv or bn module");
      model.layers_.back().activation = m.activation;
      may_activate = false;
      continue;
    }
    Layer layer = make_layer(text, m, shape, image);
    layer.name = fmt::format("layers.{}", i);
    shape = layer.output;
    if (m.layer == LayerKind::flatten) image = false;
    may_activate = layer.has_neurons() || m.layer == LayerKind::batch_norm;
    model.layers_.push_back(std::move(layer));
  }
  return model;
}

}  // namespace kindling
