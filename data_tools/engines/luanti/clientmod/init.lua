-- Draws the pose of the camera as grey cells, one hexadecimal digit each, into a strip at the top and one at the
-- bottom of the window, which are cropped away. A client's step runs after its camera has been moved and before the
-- picture is drawn, so a picture and its marker show one and the same pose.

local COLUMNS, ROWS = 16, 2
local STRIP = 8 -- pixels; screen.py crops as many
local HALF = 2 ^ 23 -- added to positions, in thousandths of a block

local grey = {}
for digit = 0, 15 do
	grey[digit] = ("unknown_node.png^[colorize:#%02x%02x%02x:255"):format(digit * 17, digit * 17, digit * 17)
end

local cells, shown = {}, {}

local function draw(player, digits)
	for place, digit in ipairs(digits) do
		if shown[place] ~= digit then
			for _, strip in ipairs(cells) do
				player:hud_change(strip[place], "text", grey[digit])
			end
			shown[place] = digit
		end
	end
end

local function add_cells(player)
	local window = tonumber(minetest.settings:get("screen_h"))
	local height = STRIP / ROWS
	for strip = 0, 1 do
		cells[strip + 1] = {}
		for place = 0, COLUMNS * ROWS - 1 do
			local top = strip * (window - STRIP) + math.floor(place / COLUMNS) * height
			cells[strip + 1][place + 1] = player:hud_add({
				hud_elem_type = "image",
				name = "mstv" .. strip .. "_" .. place,
				position = {x = (place % COLUMNS) / COLUMNS, y = top / window},
				alignment = {x = 1, y = 1},
				-- Percent of the window, a little more because the game rounds down.
				scale = {x = -101 / COLUMNS, y = -100 * (height + 0.01) / window},
				text = grey[0],
			})
		end
	end
end

local function append(digits, value, count)
	for power = count - 1, 0, -1 do
		digits[#digits + 1] = math.floor(value / 16 ^ power) % 16
	end
end

minetest.register_globalstep(function()
	local player, camera = minetest.localplayer, minetest.camera
	if not player or not camera then
		return
	end
	if #cells == 0 then
		add_cells(player)
	end
	local pos, digits = player:get_pos(), {}
	append(digits, math.floor(pos.x * 1000 + 0.5) + HALF, 6)
	append(digits, math.floor(pos.y * 1000 + 0.5) + HALF, 6)
	append(digits, math.floor(pos.z * 1000 + 0.5) + HALF, 6)
	-- The client counts its horizontal angle from the x axis, and its vertical angle upwards.
	append(digits, math.floor(math.deg(camera:get_look_horizontal()) * 1000 - 90000 + 0.5) % 360000, 5)
	append(digits, math.floor(-math.deg(camera:get_look_vertical()) * 1000 + 0.5) + 90000, 5)
	local sum = 0
	for place, digit in ipairs(digits) do
		sum = sum + place * digit
	end
	append(digits, sum + 1, 4)
	draw(player, digits)
end)
