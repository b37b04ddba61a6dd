-- The world's side of the lock-step: waits for an order in one named pipe, carries out exactly one action, and
-- answers the pose through the other. A blocked read stops the world, so nothing happens between two orders.
--
-- Lengths are integers in units of 1/BLOCK block, angles integer millidegrees, both exact in Lua's numbers. Axes are
-- those of the recordings: x and yaw are mirrored against the game's, whose yaw grows turning left.

local BLOCK = 7372800
local RADIUS, TALL, EYE = BLOCK * 30 / 100, BLOCK * 180 / 100, 1.62
local GRAVITY = BLOCK / 16
local JUMP = 6 * GRAVITY
local FASTEST_FALL = BLOCK
local CLIMB = math.floor(BLOCK / 6)
local STRIDE = BLOCK / 4
local MAX_PITCH = 89000
local SOLID, LIQUID = 1, 2
local OUTSIDE = {} -- a column where nobody may go

local floor, max, min = math.floor, math.max, math.min
local settings = minetest.settings
local reach = tonumber(settings:get("mstv_reach"))
local sight = tonumber(settings:get("mstv_sight"))
local insecure = assert(minetest.request_insecure_environment(), "mstv must be in secure.trusted_mods")
local orders = assert(insecure.io.open(settings:get("mstv_orders"), "r"))
local answers = assert(insecure.io.open(settings:get("mstv_answers"), "w"))

local LOWEST, HIGHEST = -32, 127 -- two generated chunks

local function answer(format, ...)
	answers:write(format:format(...), "\n")
	answers:flush()
end

local function round(value)
	return floor(value + 0.5)
end

-- Nothing moves by itself: a settled picture stays the same to the bit.

local function still(tile)
	if type(tile) ~= "table" or not tile.animation then
		return tile
	end
	tile = table.copy(tile)
	local kind = tile.animation.type
	if kind == "vertical_frames" then
		tile.name = ("%s^[resize:16x256^[verticalframe:16:0"):format(tile.name)
	elseif kind == "sheet_2d" then
		tile.name = ("%s^[sheet:%dx%d:0,0"):format(tile.name, tile.animation.frames_w, tile.animation.frames_h)
	end
	tile.animation = nil
	return tile
end

-- The game draws the optional leaves of a tree from the time of day, so that no two runs had the same trees. Here they
-- are drawn once for a kind of tree, always alike.
local function fixed(schematic, salt)
	local read = type(schematic) == "string" and minetest.read_schematic(schematic, {}) or schematic
	if type(read) ~= "table" then
		return schematic
	end
	local draw = PcgRandom(salt)
	read = table.copy(read)
	for _, slice in ipairs(read.yslice_prob or {}) do
		slice.prob = 254
	end
	for _, node in ipairs(read.data) do
		local probability = node.prob or node.param1 or 254
		node.param1, node.prob = nil, draw:next(1, 254) <= probability and 254 or 0
	end
	return read
end

local function text(value)
	return type(value) == "table" and table.concat(value, ",") or tostring(value)
end

-- A decoration is drawn from its place in the order, and one without a name is listed under a number drawn by chance.
local function label(decoration)
	local parts = {}
	for place, field in ipairs({"name", "deco_type", "decoration", "place_on", "biomes", "y_min", "y_max", "sidelen",
		"fill_ratio", "height", "spawn_by"}) do
		parts[place] = text(decoration[field])
	end
	local schematic = decoration.schematic
	return table.concat(parts, ";") .. (type(schematic) == "string" and schematic or "")
end

local function fix_decorations()
	local kinds = {}
	for _, decoration in pairs(minetest.registered_decorations) do
		kinds[#kinds + 1] = {key = label(decoration), decoration = decoration}
	end
	table.sort(kinds, function(a, b)
		return a.key < b.key
	end)
	minetest.clear_registered_decorations()
	for salt, kind in ipairs(kinds) do
		if kind.decoration.deco_type == "schematic" then
			kind.decoration.schematic = fixed(kind.decoration.schematic, salt)
		end
		minetest.register_decoration(kind.decoration)
	end
end

minetest.register_on_mods_loaded(function()
	fix_decorations()
	for name, node in pairs(minetest.registered_nodes) do
		local changes = {waving = 0}
		for _, field in ipairs({"tiles", "special_tiles"}) do
			if node[field] then
				changes[field] = {}
				for place, tile in pairs(node[field]) do
					changes[field][place] = still(tile)
				end
			end
		end
		minetest.override_item(name, changes)
	end
	for _, list in ipairs({"registered_abms", "registered_lbms"}) do
		for place in pairs(minetest[list]) do
			minetest[list][place] = nil
		end
	end
end)

-- Chat would be written over the picture.
minetest.get_server_status = function() end
minetest.send_join_message = function() end
minetest.send_leave_message = function() end

-- The world: a square of 2 * reach blocks, centred where most of it is pleasant.

local centre -- {x, z} in the recordings' axes
local columns = {}

local function node_at(x, y, z)
	return minetest.get_node({x = -x, y = y, z = z}).name
end

local function column(x, z)
	if x < centre.x - reach or x >= centre.x + reach or z < centre.z - reach or z >= centre.z + reach then
		return OUTSIDE
	end
	local key = x * 65536 + z
	local known = columns[key]
	if not known then
		known = {}
		for y = LOWEST, HIGHEST do
			local node = minetest.registered_nodes[node_at(x, y, z)]
			if not node or node.liquidtype ~= "none" then
				known[y] = LIQUID
			elseif node.walkable then
				known[y] = SOLID
			end
		end
		columns[key] = known
	end
	return known
end

-- The highest filled block below `y` and its kind; nil where there is none.
local function ground_below(filled, y)
	for level = min(y, HIGHEST + 1) - 1, LOWEST, -1 do
		if filled[level] then
			return level, filled[level]
		end
	end
end

-- Dry land, and no rainforest, where it is dark and nothing far can be seen.
local function pleasant(x, z)
	local level = minetest.get_spawn_level(-x, z)
	local biome = level and minetest.get_biome_data({x = -x, y = level, z = z})
	return biome and not minetest.get_biome_name(biome.biome):find("^rainforest")
end

local function find_centre()
	local best, most = nil, -1
	for ring = 0, 4 do
		for i = -ring, ring do
			for j = -ring, ring do
				if max(math.abs(i), math.abs(j)) == ring then
					local x, z, good = i * 2 * reach, j * 2 * reach, 0
					for dx = -reach, reach, reach / 4 do
						for dz = -reach, reach, reach / 4 do
							if pleasant(x + dx, z + dz) then
								good = good + 1
							end
						end
					end
					if good > most then
						best, most = {x = x, z = z}, good
					end
				end
			end
		end
		if most >= 57 then -- of 81
			break
		end
	end
	return best
end

-- The player

local body = {x = 0, y = 0, z = 0, yaw = 0, pitch = 0, lag = 0, speed = 0, last_ground = 0}

local function around(x, z)
	local found = {}
	for i = floor((x - RADIUS) / BLOCK), floor((x + RADIUS - 1) / BLOCK) do
		for j = floor((z - RADIUS) / BLOCK), floor((z + RADIUS - 1) / BLOCK) do
			found[#found + 1] = column(i, j)
		end
	end
	return found
end

local function free(x, y, z)
	for _, filled in ipairs(around(x, z)) do
		if filled == OUTSIDE then
			return false
		end
		for level = floor(y / BLOCK), floor((y + TALL - 1) / BLOCK) do
			if filled[level] then
				return false
			end
		end
		local _, kind = ground_below(filled, floor(y / BLOCK))
		if kind ~= SOLID then
			return false
		end
	end
	return true
end

local function shift(move_x, move_z)
	local x, z = body.x + move_x, body.z + move_z
	if free(x, body.y, z) then
		body.x, body.z = x, z
		return
	end
	local step = (floor(body.y / BLOCK) + 1) * BLOCK
	-- Measured from the last ground stood on, so that a jump does not climb two blocks.
	if step <= body.last_ground + BLOCK and free(body.x, step, body.z) and free(x, step, z) then
		body.lag = body.lag + step - body.y
		body.x, body.y, body.z = x, step, z
		body.last_ground, body.speed = step, 0
	end
end

local function rise_or_fall(jump)
	local ground = LOWEST * BLOCK
	for _, filled in ipairs(around(body.x, body.z)) do
		local level = ground_below(filled, math.ceil(body.y / BLOCK))
		if level then
			ground = max(ground, (level + 1) * BLOCK)
		end
	end
	if body.y == ground and body.speed <= 0 then
		body.last_ground, body.speed = ground, 0
		if not jump then
			return
		end
		body.speed = JUMP + GRAVITY
	end
	body.speed = max(body.speed - GRAVITY, -FASTEST_FALL)
	local y = body.y + body.speed
	if y <= ground then
		body.y, body.speed, body.last_ground = ground, 0, ground
	elseif body.speed > 0 and not free(body.x, y, body.z) then
		body.speed = 0
	else
		body.y = y
	end
end

local function act(forward, right, jump, yaw, pitch)
	body.yaw = (body.yaw + yaw) % 360000
	body.pitch = min(max(body.pitch + pitch, -MAX_PITCH), MAX_PITCH)
	body.lag = max(0, body.lag - CLIMB)
	local angle = math.rad(body.yaw / 1000)
	local sine, cosine = math.sin(angle), math.cos(angle)
	local move_x = round(-sine * forward) + round(-cosine * right)
	local move_z = round(cosine * forward) + round(-sine * right)
	local strides = 1 + floor(max(math.abs(move_x), math.abs(move_z)) / STRIDE)
	for stride = 0, strides - 1 do
		local part_x = floor(move_x * (stride + 1) / strides) - floor(move_x * stride / strides)
		local part_z = floor(move_z * (stride + 1) / strides) - floor(move_z * stride / strides)
		if part_x ~= 0 then
			shift(part_x, 0)
		end
		if part_z ~= 0 then
			shift(0, part_z)
		end
	end
	rise_or_fall(jump)
end

-- A start is dry, open ground under the sky, from which one can walk four ways.
local function place(chance, direction)
	local x, z, ground
	for try = 0, 9999 do
		local draw = PcgRandom(chance, try)
		x = centre.x + draw:next(8 - reach, reach - 9)
		z = centre.z + draw:next(8 - reach, reach - 9)
		local level, kind = ground_below(column(x, z), HIGHEST + 1)
		local open = level and kind == SOLID
		for _, way in ipairs({{1, 0}, {-1, 0}, {0, 1}, {0, -1}}) do
			for far = 1, 3 do
				local other, its_kind = ground_below(column(x + way[1] * far, z + way[2] * far), HIGHEST + 1)
				open = open and other and its_kind == SOLID and math.abs(other - level) <= far
			end
		end
		ground = level
		-- Not on a tree.
		if open and minetest.get_item_group(node_at(x, level, z), "leaves") == 0 then
			break
		end
	end
	body = {x = x * BLOCK + BLOCK / 2, y = (ground + 1) * BLOCK, z = z * BLOCK + BLOCK / 2, yaw = direction * 90000,
		pitch = 0, lag = 0, speed = 0, last_ground = (ground + 1) * BLOCK}
end

local function show(player)
	local sole = body.y - body.lag
	player:set_pos({x = 0.5 - body.x / BLOCK, y = sole / BLOCK - 0.5, z = body.z / BLOCK - 0.5})
	player:set_look_vertical(math.rad(body.pitch / 1000))
	player:set_look_horizontal(math.rad((360000 - body.yaw) % 360000 / 1000))
	answer("pose %.9f %.9f %.9f %d %d", body.x / BLOCK, sole / BLOCK, body.z / BLOCK, body.yaw, body.pitch)
end

local function obey(player)
	local line = orders:read("*l")
	if not line then -- the recorder has gone
		minetest.request_shutdown()
		return false
	end
	local words = line:split(" ")
	if words[1] == "start" then
		place(tonumber(words[2]), tonumber(words[3]))
	elseif words[1] == "look" then
		-- Only the eye turns, to see to it that all directions are loaded.
		body.yaw, body.pitch = tonumber(words[2]), tonumber(words[3])
	else
		act(tonumber(words[2]), tonumber(words[3]), words[4] == "1", tonumber(words[5]), tonumber(words[6]))
	end
	show(player)
	return true
end

-- The order of events: generate, answer "generated", wait for the player, send all blocks, answer "ready", then obey.

local state, to_send = "generating", {}

-- The lowest block with air and the highest with anything else, among the 16 * 16 columns at (x, z) in map blocks.
local function surface(x, z)
	local first, last = math.floor(LOWEST / 16), math.floor(HIGHEST / 16)
	local manip = VoxelManip({x = x * 16, y = LOWEST, z = z * 16}, {x = x * 16 + 15, y = HIGHEST, z = z * 16 + 15})
	local data, air, place = manip:get_data(), minetest.get_content_id("air"), 0
	local low, high = last, first
	for _ = 0, 15 do
		for y = LOWEST, HIGHEST do
			for _ = 0, 15 do
				place = place + 1
				if data[place] == air then
					low = min(low, floor(y / 16))
				else
					high = max(high, floor(y / 16))
				end
			end
		end
	end
	return {low = low, high = high}
end

-- All blocks where anything can be seen, and those around them: without its neighbours a block shows no outer faces.
local function visible_blocks(low, high)
	local known, blocks = {}, {}
	local function look(x, z)
		local key = x * 65536 + z
		known[key] = known[key] or surface(x, z)
		return known[key]
	end
	for x = floor(low.x / 16) + 1, floor(high.x / 16) - 1 do
		for z = floor(low.z / 16) + 1, floor(high.z / 16) - 1 do
			local bottom, top = math.huge, -math.huge
			for i = -1, 1 do
				for j = -1, 1 do
					local range = look(x + i, z + j)
					bottom, top = min(bottom, range.low - 1), max(top, range.high + 1)
				end
			end
			for y = max(bottom, floor(LOWEST / 16)), min(top, floor(HIGHEST / 16)) do
				blocks[#blocks + 1] = {x = x, y = y, z = z}
			end
		end
	end
	return blocks
end

local function prepare(player)
	player:set_properties({eye_height = EYE, visual_size = {x = 0, y = 0}})
	player:set_physics_override({gravity = 0, speed = 0, jump = 0})
	player:hud_set_flags({hotbar = false, healthbar = false, crosshair = false, wielditem = false,
		breathbar = false, minimap = false, minimap_radar = false, basic_debug = false})
	player:set_clouds({density = 0})
	player:set_armor_groups({immortal = 1})
	local name = player:get_player_name()
	local privileges = minetest.get_player_privs(name)
	-- Flying through everything turns off all of the client's own physics and smoothing.
	privileges.fly, privileges.noclip = true, true
	minetest.set_player_privs(name, privileges)
	minetest.set_timeofday(0.5)
end

minetest.register_on_joinplayer(prepare)

minetest.after(0, function()
	centre = find_centre()
	local wide = reach + sight + 32
	local low = {x = -centre.x - wide, y = LOWEST, z = centre.z - wide}
	local high = {x = -centre.x + wide, y = HIGHEST, z = centre.z + wide}
	minetest.emerge_area(low, high, function(_, _, remaining)
		if remaining == 0 then
			to_send = visible_blocks(low, high)
			state = "generated"
			answer("generated")
		end
	end)
end)

minetest.register_globalstep(function()
	local player = minetest.get_connected_players()[1]
	if not player or state == "generating" then
		return
	elseif state == "generated" then
		place(0, 0)
		player:set_pos({x = 0.5 - body.x / BLOCK, y = body.y / BLOCK - 0.5, z = body.z / BLOCK - 0.5})
		state = "sending"
	elseif state == "sending" then
		for _ = 1, 100 do
			local block = table.remove(to_send)
			if block then
				player:send_mapblock(block)
			end
		end
		if #to_send == 0 then
			state = "obeying"
			answer("ready")
		end
	else
		obey(player)
	end
end)
